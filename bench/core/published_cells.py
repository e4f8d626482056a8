"""What a number of the paper's tables is the number of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

UNEDITED = "N/A"  # the unedited model, as the tables print it

T = TypeVar("T")


class Place(NamedTuple):
    """One number: the columns of the published tables that tell it from every other."""

    table: int
    n_edits: int
    editor: str  # label; `UNEDITED` for the model as it was
    dataset: str  # label; empty in Table 3
    metric: str

    @property
    def cell(self) -> str:
        """`ZSRE, 1,000 edits`: where in its table, in words."""
        return ", ".join(filter(None, [self.dataset, edits(self.n_edits)]))

    @property
    def decimals(self) -> int:
        """How many the paper prints: times in seconds with four, percentages with two."""
        return 4 if self.metric.endswith("_s") else 2

    @property
    def unit(self) -> float:
        """One in the last printed place."""
        return float(f"1e-{self.decimals}")

    def text(self, value: float) -> str:
        """A value as the paper would print it here."""
        return f"{value:.{self.decimals}f}"


def distinct(places: Iterable[Place], table: int, read: Callable[[Place], T]) -> tuple[T, ...]:
    """What `read` finds in the places of one table, each once, in their order."""
    return tuple(dict.fromkeys(read(place) for place in places if place.table == table))


def rivals(places: Iterable[Place], place: Place) -> tuple[Place, ...]:
    """The same number of every other editor; the unedited model competes for nothing."""
    same = _but_editor(place)
    return tuple(
        other
        for other in places
        if _but_editor(other) == same and other.editor not in (place.editor, UNEDITED)
    )


def _but_editor(place: Place) -> tuple[object, ...]:
    return place.table, place.n_edits, place.dataset, place.metric


def edits(count: int) -> str:
    """`1 edit`, `1,000 edits`."""
    return f"{count:,} edit" + ("" if count == 1 else "s")
