"""Records of the paper's own backbones beside the published numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.core.cells import Cell
from bench.core.grids import Table
from bench.core.numerics import Spread
from bench.core.published import Published, PublishedCell, numbers
from bench.store.results import Record
from bench.tables.tabulate import METRICS, tabulate

# A cell agrees within so many printed standard deviations, or within so many points, whichever is
# more (ours: the paper's spreads are those of five runs, and its texts are not all published).
DEVIATIONS = 3.0
POINTS = 1.0

Agreement = Literal["agrees", "differs"]


@dataclass(frozen=True, kw_only=True)
class Beside:
    """One of our numbers with the published one, in percent."""

    place: PublishedCell
    ours: Spread
    published: Published

    @property
    def allowed(self) -> float:
        """Points by which they may differ."""
        return max(POINTS, DEVIATIONS * (self.published.std or 0.0))

    @property
    def verdict(self) -> Agreement:
        """Whether they are as near as that."""
        return "agrees" if abs(self.ours.mean - self.published.value) <= self.allowed else "differs"

    def __str__(self) -> str:
        spread = "" if self.published.std is None else f"±{self.published.std:.2f}"
        return (
            f"Table {self.place.table}, {self.place.editor}, {self.place.where}, "
            f"{self.place.metric}: {self.ours.mean:.2f} over {self.ours.n} seed"
            f"{'s' if self.ours.n > 1 else ''}, published {self.published.value:.2f}{spread}, "
            f"{self.allowed:.2f} allowed"
        )


def beside_published(table: Table, records: Sequence[Record]) -> Iterator[Beside]:
    """Every number of the paper's backbone that both have.

    Limited runs are left out: they are of other samples than the paper's.
    """
    cells = [
        cell
        for record in records
        if record["cell"].get("kind") == Cell.kind
        and (cell := Cell.from_dict(record["cell"])).backbone == table.backbones["paper"]
        and cell.limit is None
        and not cell.measures  # the same scores again
        and cell.dataset_revision.startswith("published")
    ]
    if not cells:
        return
    data = tabulate(table, cells, records)
    printed: Mapping[PublishedCell, Published] = numbers(table.number)
    by_label = {(row.n_edits, row.label): row.editor for row in data.rows}
    for place, number in printed.items():
        editor = by_label.get((place.n_edits, place.editor))
        for dataset in data.datasets:
            entry = data.entries.get((place.n_edits, editor or "", dataset))
            if entry and place.dataset == _label(dataset) and place.metric in METRICS:
                ours = entry.values.get(place.metric)
                if ours is not None:
                    yield Beside(place=place, ours=ours, published=number)


def _label(dataset: str) -> str:
    from bench.datasets import get_dataset

    return get_dataset(dataset).label
