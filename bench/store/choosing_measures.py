"""Stored records that hold some optional metric sets, whichever others they hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.core.cells import Cell, canonical
from bench.store.results import Record


def measured(cells: Sequence[Cell], records: Iterable[Record]) -> Sequence[Cell]:
    """The planned cells as they were stored with at least their metric sets.

    One that was not stays as it is. Where several were, the one with the fewest sets is taken.
    """
    stored = [
        Cell.from_dict(record["cell"]) for record in records if record["cell"].get("measures")
    ]
    stored.sort(key=lambda one: (len(one.measures), one.key()))
    by_place: dict[str, list[Cell]] = {}
    for one in stored:
        by_place.setdefault(_place(one), []).append(one)
    return [
        next(
            (
                one
                for one in by_place.get(_place(cell), ())
                if cell.measures.items() <= one.measures.items()
            ),
            cell,
        )
        for cell in cells
    ]


def _place(cell: Cell) -> str:
    """All of a cell but its metric sets."""
    return canonical({name: v for name, v in cell.to_dict().items() if name != "measures"})
