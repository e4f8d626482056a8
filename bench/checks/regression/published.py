"""Records of the paper's own backbones compared with the published numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.core.cells import Cell
from bench.core.grids import Table
from bench.core.numerics import Spread
from bench.core.published import Published, PublishedCell, numbers
from bench.store.results import Record
from bench.tables import view

# A cell agrees within so many printed standard deviations, or within so many points, whichever is
# more (ours: the paper's spreads are those of five runs, and its texts are not all published).
DEVIATIONS = 3.0
POINTS = 1.0


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One of our numbers with the published one, in percent."""

    cell: PublishedCell
    ours: Spread
    published: Published

    @property
    def allowed(self) -> float:
        """Points by which they may differ."""
        return max(POINTS, DEVIATIONS * (self.published.std or 0.0))

    @property
    def verdict(self) -> Literal["agrees", "differs"]:
        """Whether they are as near as that."""
        return "agrees" if abs(self.ours.mean - self.published.value) <= self.allowed else "differs"

    def __str__(self) -> str:
        spread = "" if self.published.std is None else f"±{self.published.std:.2f}"
        return (
            f"Table {self.cell.table}, {self.cell.editor}, {self.cell.where}, {self.cell.metric}: "
            f"{self.ours.mean:.2f} over {self.ours.n} seed{'s' if self.ours.n > 1 else ''}, "
            f"published {self.published.value:.2f}{spread}, {self.allowed:.2f} allowed"
        )


def compare_published(table: Table, records: Sequence[Record]) -> Iterator[Comparison]:
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
    ours = {n.place: n.ours for n in view(table, cells, records).numbers if n.place and n.ours}
    for printed, number in numbers(table.number).items():
        if printed in ours:
            yield Comparison(cell=printed, ours=ours[printed], published=number)
