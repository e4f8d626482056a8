"""The results of benchmarks: lines of a table in the terminal, and the same as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from bench.core.console import say, show
from bench.core.files import write_text
from bench.core.numerics import provenance


@dataclass(frozen=True)
class Line:
    """One measured figure.

    Attributes:
        benchmark: its name on the command line.
        subject: what was measured (an editor, a number of stored edits).
        figure: the quantity with its unit (`s per edit`).
        ours: the package's value.
        plain: the value that `ours` is compared with, from the same process; None for a figure
            without a comparison.
        wanted: the target in words; empty for none.
        met: whether the target was met.
        note: remarks needed to read the line.
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

    def at_least(self, ratio: float) -> Line:
        """The line with a target for its ratio."""
        met = self.ratio is not None and self.ratio >= ratio
        return dataclasses.replace(self, wanted=f"{ratio:g}x", met=met)

    def at_most(self, value: float, words: str) -> Line:
        """The line with a target for its own value."""
        return dataclasses.replace(self, wanted=words, met=self.ours <= value)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"ratio": self.ratio}


def publish(lines: Sequence[Line], out: Path | None, *, started: str, device: str = "cpu") -> None:
    """Print the lines as a table, and write them as JSON if a file is named."""
    if not lines:
        return
    show(_table(lines))
    if out is not None:
        facts = provenance(torch.device(device), started=started, seconds={})
        body = {"provenance": facts, "lines": [line.to_dict() for line in lines]}
        write_text(out, json.dumps(body, indent=1) + "\n")
        say(f"written: {out}")


def _table(lines: Sequence[Line]) -> Table:
    table = Table()
    for name in ("Benchmark", "Of", "Figure"):
        table.add_column(name)
    for name in ("Ours", "Other side", "Ratio", "Target"):
        table.add_column(name, justify="right")
    table.add_column("Note")
    for line in lines:
        mark = "" if line.met is None else (" met" if line.met else " missed")
        ratio = "-" if line.ratio is None else f"{line.ratio:.2f}x"
        table.add_row(
            *(line.benchmark, line.subject, line.figure, _number(line.ours), _number(line.plain)),
            *(ratio, (line.wanted or "-") + mark, line.note),
        )
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 1_000 else f"{value:,.0f}"
