"""The comparisons of one table over seeds, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bench.tables.comparisons import FAVOURITE, Comparison
from bench.tables.layout import EMPTY
from bench.tables.tabulate import TableData

if TYPE_CHECKING:
    from rich.table import Table as RichTable

_COLUMNS = (
    "n", "data", "against", "difference", "seeds", "paired t", "p", "Holm", "d_z", "Welch t", "p",
    "Holm", "",
)  # fmt: skip
_WORDS = (1, 2, 12)  # columns of words, aligned left


def caption(data: TableData, found: Sequence[Comparison]) -> Iterator[str]:
    """What stands over the comparisons."""
    tests = sum(one.paired is not None for one in found)
    yield (
        f"Table {data.table.number}, {data.backbone}: Avg of {FAVOURITE} minus that of every other "
        "editor, in points, over the seeds that both have."
    )
    yield data.caption.measured
    yield data.caption.protocol
    yield data.caption.seeds
    yield (
        "Two-sided t-tests, paired over seeds and Welch's; Holm: p after his correction of the "
        f"{tests} tests of the table; d_z: mean difference over the standard deviation of the "
        "differences; best: the best other editor."
    )


def comparison_table(found: Sequence[Comparison]) -> RichTable:
    """One line for each comparison."""
    from rich.table import Table

    table = Table()
    for i, name in enumerate(_COLUMNS):
        table.add_column(name, justify="left" if i in _WORDS else "right", no_wrap=True)
    cell = None
    for one in found:
        if cell not in (None, (one.n_edits, one.dataset)):
            table.add_section()
        cell = one.n_edits, one.dataset
        table.add_row(*_texts(one))
    return table


def _texts(one: Comparison) -> Iterator[str]:
    paired, welch = one.paired, one.welch
    yield from (f"{one.n_edits:,}", one.dataset, one.other)
    yield from (f"{one.difference:+.2f}", str(one.seeds))
    yield from (EMPTY, EMPTY) if paired is None else (f"{paired.t:+.2f}", _p(paired.p))
    yield _p(one.adjusted_paired)
    yield EMPTY if paired is None else f"{paired.effect:+.2f}"
    yield from (EMPTY, EMPTY) if welch is None else (f"{welch.t:+.2f}", _p(welch.p))
    yield _p(one.adjusted_welch)
    yield ", ".join(filter(None, ["best" if one.best_other else "", one.untested]))


def _p(value: float | None) -> str:
    return EMPTY if value is None else f"{value:.2g}"
