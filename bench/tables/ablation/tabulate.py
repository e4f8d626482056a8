"""Records to Table 4: RECIPE without its parts, each number the mean over the data sets."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.core.cells import Cell, joined
from bench.core.grids import ABLATIONS, CONTROLLED, Table, ablation_of
from bench.core.numerics import Spread, spread
from bench.core.published import UNEDITED, Published, numbers
from bench.evaluation.metrics import Phase
from bench.store.results import Record
from bench.tables.columns import Shown
from bench.tables.tabulate import METRICS, Caption, caption_of

MEAN = "MEAN3"  # the published table's name for the mean over the data sets
# Row -> (label, the published table's name); the first two are no variants.
ROWS: dict[str, tuple[str, str]] = {
    "unedited": ("unedited", UNEDITED),
    "whole": ("RECIPE", "RECIPE"),
    "no-cpt": (ABLATIONS[0].label, "minus_CPT"),
    "no-ks": (ABLATIONS[1].label, "minus_KS"),
    "no-cpt-no-ks": (ABLATIONS[2].label, "minus_BOTH"),
}
CONTROL_ROWS = ("unedited", *("whole" if key is None else key for key in CONTROLLED))


@dataclass(frozen=True, kw_only=True)
class AblationRow:
    """One line of the table, in percent."""

    backbone: str
    n_edits: int
    part: str  # key of ROWS
    control: bool  # of the second backbone, which was not taught to read a context
    values: Mapping[str, Spread]  # by column; empty where a data set is missing
    published: Mapping[str, Published]

    @property
    def label(self) -> str:
        """As it is printed."""
        return ROWS[self.part][0] + " (control)" * self.control


@dataclass(frozen=True, kw_only=True)
class AblationTable:
    """Everything that a rendered Table 4 shows."""

    table: Table
    backbone: str
    caption: Caption
    rows: tuple[AblationRow, ...]
    datasets: tuple[str, ...]
    protocol: str  # id, of all data sets


def tabulate(
    table: Table, cells: Sequence[Cell], records: Iterable[Record], shown: Shown
) -> AblationTable:
    """The table of a plan's cells; a row needs the records of all data sets at a seed.

    Raises:
        ValueError: cells of several protocols.
    """
    protocol = joined(cells)
    by_key = {record["key"]: record for record in records}
    done = [(cell, by_key[cell.key()]) for cell in cells if cell.key() in by_key]
    datasets = tuple(dict.fromkeys(cell.dataset for cell in cells))
    backbones = sorted({cell.backbone for cell in cells}, key=lambda name: name == table.control)
    counts = dict.fromkeys(cell.n_edits for cell in cells)
    rows: list[AblationRow] = []
    for n_edits, backbone in itertools.product(counts, backbones):
        control = backbone != backbones[0]
        published = _published(table, n_edits) if shown.published and not control else {}
        here = [
            (cell, record)
            for cell, record in done
            if (cell.n_edits, cell.backbone) == (n_edits, backbone)
        ]
        rows += [
            AblationRow(
                backbone=backbone,
                n_edits=n_edits,
                part=part,
                control=control,
                values=_values(part, here, datasets, shown),
                published=published.get(part, {}),
            )
            for part in (CONTROL_ROWS if control else ROWS)
        ]
    main = [cell for cell in cells if cell.backbone == backbones[0]]
    return AblationTable(
        table=table,
        backbone=backbones[0],
        caption=caption_of(table, main, seeds={cell.seed for cell, _ in done} or {0}, shown=shown),
        rows=tuple(rows),
        datasets=datasets,
        protocol=protocol,
    )


def _published(table: Table, n_edits: int) -> dict[str, dict[str, Published]]:
    """Part -> column -> the paper's number."""
    found: dict[str, dict[str, Published]] = {}
    parts = {printed: part for part, (_, printed) in ROWS.items()}
    for place, number in numbers(table.number).items():
        if (place.n_edits, place.dataset) == (n_edits, MEAN):
            found.setdefault(parts[place.editor], {})[place.metric] = number
    return found


def _values(
    part: str, done: Sequence[tuple[Cell, Record]], datasets: Sequence[str], shown: Shown
) -> dict[str, Spread]:
    """Column -> spread over the seeds that have all data sets."""
    phase: Phase = "before" if part == "unedited" else "after"
    key = "whole" if part == "unedited" else part
    by_seed: dict[int, dict[str, Mapping[str, float]]] = {}
    for cell, record in done:
        found = ablation_of(cell.hparams)
        scores = record["summary"]["scores"][phase]
        if (found.key if found else "whole") == key and shown.channel in scores:
            by_seed.setdefault(cell.seed, {})[cell.dataset] = scores[shown.channel][shown.measure]
    whole = [scores for scores in by_seed.values() if scores.keys() >= set(datasets)]
    if not whole:
        return {}
    return {
        column: spread([100 * fmean(one[name] for one in scores.values()) for scores in whole])
        for column, name in METRICS.items()
    }
