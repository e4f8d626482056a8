"""Table 4: RECIPE without its parts, each number the mean over the data sets."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from bench.core.cells import Cell, joined
from bench.core.grids import ABLATIONS, CONTROLLED, RECIPE, Table, ablation_of
from bench.core.names import row_order
from bench.core.published import UNEDITED, PublishedCell
from bench.datasets import get_dataset
from bench.store.results import Record
from bench.tables.table import (
    METRICS,
    TOKEN_ACCURACY,
    UNDEFINED,
    Metric,
    Number,
    Row,
    View,
    caption_of,
    over_datasets,
    with_best,
)

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
PARTS = (
    "- CPT: the word embeddings of the edit's own text in place of the continuous prompt, with "
    "RECIPE's weights. - KS: a retriever trained with a plain contrastive loss, and in the "
    "sentinel's place a threshold chosen on training edits. - BOTH: both."
)
CONTROL = (
    "Control: mini-llama trained from noise without documents that teach reading a context, and "
    "RECIPE trained on it."
)
# Printed with embedded backbones, for which the paper's result is not to be expected.
TAUGHT = (
    "The miniature backbones were taught to obey text in front of a question, so that without CPT "
    "the level of the unedited model, at which the paper has it, is not to be expected."
)


def view(
    table: Table, cells: Sequence[Cell], records: Iterable[Record], metric: Metric = TOKEN_ACCURACY
) -> View:
    """A row for each part that is left out; see `bench.tables.view`."""
    protocol = joined(cells)
    stored = {record["key"]: record for record in records}
    main, *controls = sorted({c.backbone for c in cells}, key=lambda b: b == table.control)
    datasets = dict.fromkeys(cell.dataset for cell in cells)
    labels = ", ".join(get_dataset(key).label for key in datasets)
    printed = metric.published(table)
    by_part: dict[tuple[str, int, str], list[Cell]] = {}
    for cell in sorted(cells, key=lambda c: (row_order(c.editor, c.dataset), c.seed)):
        variant = ablation_of(cell.hparams)
        place = cell.backbone, cell.n_edits, variant.key if variant else "whole"
        by_part.setdefault(place, []).append(cell)
    numbers: list[Number] = []
    blocks = itertools.product(sorted({c.n_edits for c in cells}), (main, *controls))
    for n_edits, backbone in blocks:
        control = backbone != main
        for part in CONTROL_ROWS if control else ROWS:
            edited, (label, printed_as) = part != "unedited", ROWS[part]
            row = Row(
                backbone=backbone, n_edits=n_edits, label=label, control=control,
                editor=RECIPE if edited else None,
            )  # fmt: skip
            own = by_part.get((backbone, n_edits, part if edited else "whole"), [])
            done = [record for cell in own if (record := stored.get(cell.key()))]
            values = over_datasets(done, datasets, metric, "after" if edited else "before")
            for column in METRICS:
                at = PublishedCell(table.number, n_edits, printed_as, MEAN, column)
                number = Number(
                    row=row, dataset=MEAN, group=f"mean over {labels}", column=column,
                    metric=column, ours=values.get(column), place=None if control else at,
                    published=None if control else printed.get(at), protocol=protocol,
                    cells=tuple(own), competes=edited and not control,
                )  # fmt: skip
                numbers.append(number)
    seeds = {cell.seed for cell in cells if cell.key() in stored} or {0}
    about = caption_of(table, [c for c in cells if c.backbone == main], seeds=seeds, metric=metric)
    caption = (
        f"Table {table.number}: {table.title}; means over {labels}, in percent.",
        f"{about.measured} {about.published}",
        about.protocol,
        f"{about.seeds} Bold: the best with edits. {UNDEFINED}",
        PARTS,
        *([TAUGHT] if main == table.backbones["embedded"] else []),
        *([CONTROL] if controls else []),
    )
    return View(table=table, caption=caption, numbers=with_best(numbers), lead=("n", "Editor"))
