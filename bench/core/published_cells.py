"""A cell of the paper's tables: which number it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

UNEDITED = "N/A"  # the unedited model, as the tables print it

T = TypeVar("T")


class PublishedCell(NamedTuple):
    """The columns of the published tables that identify one number."""

    table: int
    n_edits: int
    editor: str  # label; `UNEDITED` for the model as it was
    dataset: str  # label; empty in Table 3
    metric: str

    @property
    def where(self) -> str:
        """`ZSRE, 1,000 edits`: where in its table, in words."""
        return ", ".join(filter(None, [self.dataset, edits(self.n_edits)]))

    @property
    def decimals(self) -> int:
        """How many the paper prints: times in seconds with four, percentages with two."""
        return 4 if self.metric.endswith("_s") else 2

    @property
    def unit(self) -> float:
        """One in the last printed digit."""
        return float(f"1e-{self.decimals}")

    def text(self, value: float) -> str:
        """A value as the paper would print it here."""
        return f"{value:.{self.decimals}f}"


def distinct(
    cells: Iterable[PublishedCell], table: int, read: Callable[[PublishedCell], T]
) -> tuple[T, ...]:
    """What `read` finds in the cells of one table, each once, in their order."""
    return tuple(dict.fromkeys(read(cell) for cell in cells if cell.table == table))


def rivals(cells: Iterable[PublishedCell], cell: PublishedCell) -> tuple[PublishedCell, ...]:
    """The same number of every other editor; the unedited model competes for nothing."""
    same = _but_editor(cell)
    return tuple(
        other
        for other in cells
        if _but_editor(other) == same and other.editor not in (cell.editor, UNEDITED)
    )


def _but_editor(cell: PublishedCell) -> tuple[object, ...]:
    return cell.table, cell.n_edits, cell.dataset, cell.metric


def edits(count: int) -> str:
    """`1 edit`, `1,000 edits`."""
    return f"{count:,} edit" + ("" if count == 1 else "s")
