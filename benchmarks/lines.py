"""What a benchmark says: lines of a table, and the same as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Line:
    """One figure of one benchmark.

    Attributes:
        benchmark: which one, by its name on the command line.
        subject: what was measured (an editor, a number of stored edits).
        figure: of it, with its unit (`s per edit`).
        ours: the package's value.
        plain: what `ours` is compared with, in the same process; None for a figure that stands
            alone.
        wanted: the target in words; empty for none.
        met: whether the target was met.
        note: what else must be known to read the line.
    """

    benchmark: str
    subject: str
    figure: str
    ours: float
    plain: float | None = None
    wanted: str = ""
    met: bool | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times ours goes into the other."""
        return None if self.plain is None or not self.ours else self.plain / self.ours

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"ratio": self.ratio}


def at_least(line: Line, ratio: float) -> Line:
    """The line with a target for its ratio."""
    met = line.ratio is not None and line.ratio >= ratio
    return Line(**asdict(line) | {"wanted": f"{ratio:g}x", "met": met})


def at_most(line: Line, value: float, words: str) -> Line:
    """The line with a target for its own value."""
    return Line(**asdict(line) | {"wanted": words, "met": line.ours <= value})


def table(lines: Sequence[Line]) -> Table:
    """The lines for the terminal."""
    shown = Table()
    for name in ("Benchmark", "Of", "Figure"):
        shown.add_column(name)
    for name in ("Ours", "Other side", "Ratio", "Target"):
        shown.add_column(name, justify="right")
    shown.add_column("Note")
    for line in lines:
        mark = "" if line.met is None else (" met" if line.met else " missed")
        shown.add_row(
            line.benchmark,
            line.subject,
            line.figure,
            _number(line.ours),
            _number(line.plain),
            "-" if line.ratio is None else f"{line.ratio:.2f}x",
            (line.wanted or "-") + mark,
            line.note,
        )
    return shown


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 1_000 else f"{value:,.0f}"
