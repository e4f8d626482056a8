"""Table 4 as columns of text and as CSV."""

from __future__ import annotations

from collections.abc import Iterator

from bench.datasets import get_dataset
from bench.tables.ablation.tabulate import MEAN, ROWS, AblationRow, AblationTable
from bench.tables.layout import TextTable, with_published
from bench.tables.render import CSV_COLUMNS, csv_of, decimal
from bench.tables.tabulate import METRICS

LEAD = ("n", "Editor")
UNEDITED_ROW = next(iter(ROWS))
PARTS = (
    "- CPT: the word embeddings of the edit's own text in place of the continuous prompt, with "
    "RECIPE's weights. - KS: a retriever trained with a plain contrastive loss, and in the "
    "sentinel's place a threshold chosen on training edits. - BOTH: both."
)
CONTROLLED = (
    "Control: mini-llama trained from noise without documents that teach reading a context, and "
    "RECIPE trained on it."
)
# Printed with made backbones, for which the paper's result is not to be expected.
TAUGHT = (
    "The miniature backbones were taught to obey text in front of a question, so that without CPT "
    "the level of the unedited model, at which the paper has it, is not to be expected."
)


def by_part(data: AblationTable) -> TextTable:
    """The paper's layout: a row for each part that is left out."""
    labels = ", ".join(get_dataset(key).label for key in data.datasets)
    return TextTable(
        caption=tuple(_caption(data, labels)),
        groups=(("", LEAD), (f"mean over {labels}", tuple(METRICS))),
        rows=tuple(_texts(row) for row in data.rows),
        breaks=tuple(
            i for i, row in enumerate(data.rows) if i and row.n_edits != data.rows[i - 1].n_edits
        ),
        best=frozenset(_best(data)),
    )


def to_csv(data: AblationTable) -> str:
    """One line per number, in the form of the published tables."""
    return csv_of(CSV_COLUMNS, _csv_rows(data))


def _caption(data: AblationTable, labels: str) -> Iterator[str]:
    caption = data.caption
    yield f"Table {data.table.number}: {data.table.title}; means over {labels}, in percent."
    yield f"{caption.measured} {caption.published}"
    yield caption.protocol
    yield f"{caption.seeds} Bold: the best with edits. A dash: undefined, or not run."
    yield PARTS
    if data.backbone == data.table.backbones["embedded"]:
        yield TAUGHT
    if any(row.control for row in data.rows):
        yield CONTROLLED


def _texts(row: AblationRow) -> tuple[str, ...]:
    numbers = (with_published(row.values.get(c), row.published.get(c)) for c in METRICS)
    return (f"{row.n_edits:,}", row.label, *numbers)


def _best(data: AblationTable) -> Iterator[tuple[int, int]]:
    """The largest of each column of a block; the unedited model does not compete."""
    for n_edits in {row.n_edits for row in data.rows}:
        rivals = {
            i: row
            for i, row in enumerate(data.rows)
            if row.n_edits == n_edits
            and row.part != UNEDITED_ROW
            and row.values
            and not row.control
        }
        for j, column in enumerate(METRICS, start=len(LEAD)):
            means = {i: round(row.values[column].mean, 2) for i, row in rivals.items()}
            if len(means) > 1:
                yield from ((i, j) for i, mean in means.items() if mean == max(means.values()))


def _csv_rows(data: AblationTable) -> Iterator[tuple[str | int, ...]]:
    for row in data.rows:
        for column in METRICS:
            ours, theirs = row.values.get(column), row.published.get(column)
            yield (
                data.table.number,
                row.backbone,
                row.n_edits,
                "",
                ROWS[row.part][0],
                MEAN,
                column,
                decimal(ours.mean if ours else None),
                decimal(ours.std if ours else None),
                ours.n if ours else 0,
                data.table.published_backbone,
                decimal(theirs.value if theirs else None),
                decimal(theirs.std if theirs else None),
                "",
                data.protocol,
            )
