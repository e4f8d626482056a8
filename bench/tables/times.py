"""Timing records to Table 3, as columns of text and as CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench.core.cells import check_one_way
from bench.core.grids import Table
from bench.core.published import UNEDITED, Published
from bench.datasets import get_dataset
from bench.evaluation.record_kinds import TimingCell
from bench.models.backbones import SEED
from bench.store.results import Record
from bench.tables.later_editors import marked, notes
from bench.tables.layout import EMPTY, TextTable
from bench.tables.render import CSV_COLUMNS, csv_of
from bench.tables.tabulate import changes_sentence, published_values
from editors import registry
from editors.registry import EditorEntry

LEAD = ("n", "Type", "Editor")
# Column -> the published metric, None for what the paper does not have.
COLUMNS: dict[str, str | None] = {
    "Edit": "edit_time_s",
    "Inference": "infer_time_s",
    "Overhead": None,
    "Inference bf16": None,
    "Total": "total_time_s",
    "20 tokens": None,
    "Trained": None,
}
# Column -> name in a record's summary; the total is not in it.
_SUMMARY = {
    "Edit": "edit",
    "Inference": "forward",
    "Inference bf16": "forward_bfloat16",
    "20 tokens": "generation",
}
_CSV = {"Inference bf16": "infer_time_bf16_s", "20 tokens": "20_tokens_s"}
HOW = (
    "One inference: the editor's encoder and look-up, where it has them, and one teacher-forced "
    "forward of one prompt, batch size 1; overhead: over the same forward without the editor, "
    "measured in pairs; bf16: behind the same edits, in bfloat16. Total: the sum "
    "of the medians of edit and inference. 20 tokens: greedy, with a cache. Trained: numbers in "
    "the editor's own weights. A dash: none, or not run."
)


@dataclass(frozen=True, kw_only=True)
class TimeRow:
    """One line of the table, in seconds."""

    cell: TimingCell
    record: Record | None
    published: Mapping[str, Published]  # by column

    @property
    def label(self) -> str:
        """Of the editor."""
        return "unedited" if self.cell.editor is None else self._entry.label

    @property
    def family(self) -> str:
        """Of the editor; a dash for none."""
        return EMPTY if self.cell.editor is None else self._entry.family

    @property
    def _entry(self) -> EditorEntry:
        return registry.describe(self.cell.editor or "")

    def seconds(self, column: str) -> tuple[float, float, float] | None:
        """(median, lower quartile, upper quartile); the total has its median three times."""
        if self.record is None:
            return None
        summary = self.record["summary"]
        if column == "Total":
            if summary["edit"] is None:
                return None
            total = summary["edit"]["median"] + summary["forward"]["median"]
            return total, total, total
        found = summary[_SUMMARY[column]]
        return None if found is None else _quartiles(found)

    @property
    def least_edit(self) -> tuple[float, float, float] | None:
        """As `seconds` of edits that stop at the first chance, where those are told apart."""
        found = None if self.record is None else self.record["summary"].get("edit_least")
        return None if found is None else _quartiles(found)

    def least(self, column: str) -> float | None:
        """Lower bound of a median, where there are two bounds."""
        edit, inference = self.least_edit, self.seconds("Inference")
        if column not in ("Edit", "Total") or edit is None or inference is None:
            return None
        return edit[0] + (inference[0] if column == "Total" else 0.0)

    @property
    def overhead(self) -> float | None:
        """Of an inference over the same one without the editor."""
        if self.record is None:
            return None
        ratio: float | None = self.record["summary"].get("overhead")
        return ratio

    @property
    def trained(self) -> int | None:
        """Numbers in the editor's own weights."""
        if self.record is None:
            return None
        count: int | None = self.record["summary"]["trained_parameters"]
        return count


def time_rows(
    table: Table, cells: Sequence[TimingCell], records: Iterable[Record]
) -> tuple[TimeRow, ...]:
    """A row for each cell of a plan, with its record where there is one.

    Raises:
        ValueError: cells of several protocols.
    """
    check_one_way(cells)
    by_key = {record["key"]: record for record in records}
    values, printed = published_values(table), printed_edits(table)
    return tuple(
        TimeRow(
            cell=cell,
            record=by_key.get(cell.key()),
            published={
                column: values[place]
                for column, metric in COLUMNS.items()
                if (place := (printed, _published_label(cell), "", metric or "")) in values
            },
        )
        for cell in cells
    )


def printed_edits(table: Table) -> int:
    """The one number of edits behind which the paper has times."""
    (found,) = {place[0] for place in published_values(table)}
    return found


def by_editor(table: Table, rows: Sequence[TimeRow]) -> TextTable:
    """The paper's layout: edit, inference and total time of every editor."""
    return TextTable(
        caption=tuple(_caption(table, rows)),
        groups=(("", LEAD), ("seconds: median [quartiles]", tuple(COLUMNS))),
        rows=tuple(
            (
                f"{row.cell.n_edits:,}",
                row.family,
                marked(row.label, row.cell.editor),
                *(_text(row, column) for column in COLUMNS),
            )
            for row in rows
        ),
        breaks=tuple(
            i
            for i, (before, row) in enumerate(pairwise(rows), start=1)
            if before.cell.n_edits != row.cell.n_edits
        ),
    )


def to_csv(table: Table, rows: Sequence[TimeRow]) -> str:
    """One line per number, in the form of the published tables, with the quartiles."""
    return csv_of((*CSV_COLUMNS, "lower_quartile", "upper_quartile"), _csv_rows(table, rows))


def _published_label(cell: TimingCell) -> str:
    return UNEDITED if cell.editor is None else registry.describe(cell.editor).label


def _weights(cell: TimingCell) -> Iterator[str]:
    """What is random, and what stands in for what training makes."""
    if cell.weights != "random":
        return
    lent = "" if cell.tokenizer is None else f"; texts are cut by the tokenizer of {cell.tokenizer}"
    yield (
        f"Random weights (seed {SEED}), from the configuration alone{lent}. Editors' own weights "
        "are untrained, and find an edit for every query; the key covariance is diagonal, and "
        "context prefixes are made-up text. Values do not matter to these times, but for edits "
        "that stop early: lower - upper are the medians of edits that all stop at the first "
        "chance, and that all run to their last step."
    )


def _caption(table: Table, rows: Sequence[TimeRow]) -> Iterator[str]:
    cell = rows[0].cell
    machines = {_machine(row.record): None for row in rows if row.record is not None}
    same = cell.backbone == table.backbones["paper"]
    yield (
        f"Table {table.number}: {table.title}, behind n edits of "
        f"{get_dataset(cell.dataset).label} ({cell.dataset_revision}), seed {cell.seed}."
    )
    yield (
        f"Measured on {cell.backbone} ({cell.dtype}), {' and '.join(machines) or 'not yet'}. In "
        f"parentheses the published value on {table.published_backbone} behind 10,000 edits"
        + ("." if same else ", another backbone on another machine: compare ratios.")
    )
    yield f"{cell.queries} inferences, warmed up. {HOW} Protocol: {cell.protocol_id}."
    changed = changes_sentence(
        cell.backbone, {row.cell.editor: row.cell.hparams for row in rows if row.cell.editor}
    )
    yield from filter(None, [*_weights(cell), changed])
    yield from notes(row.cell.editor for row in rows)


def _machine(record: Record) -> str:
    made = record["provenance"]
    hardware, threads = made["hardware"], made["threads"]
    return f"{hardware.get('accelerator') or hardware['processor']}, {threads} thread" + (
        "s" if threads > 1 else ""
    )


def _text(row: TimeRow, column: str) -> str:
    if column == "Trained":
        return EMPTY if row.trained is None else f"{row.trained:,}"
    if column == "Overhead":
        return EMPTY if row.overhead is None else f"{row.overhead:.2f}x"
    found, theirs = row.seconds(column), row.published.get(column)
    least, text = row.least(column), EMPTY
    if found is not None and least is not None:
        text = f"{least:.4f} - {found[0]:.4f}"
    elif found is not None:
        median, lower, upper = found
        text = f"{median:.4f}" + ("" if lower == upper else f" [{lower:.4f}, {upper:.4f}]")
    return text if theirs is None else f"{text} ({theirs.value:.4f})"


def _csv_rows(table: Table, rows: Sequence[TimeRow]) -> Iterator[tuple[str | int, ...]]:
    for row in rows:
        for column, metric in COLUMNS.items():
            if column == "Trained":
                continue
            if column == "Overhead":
                ratios = None if row.overhead is None else (row.overhead,) * 3
                yield _csv_row(table, row, "inference_over_unedited", ratios, None)
                continue
            bound = row.least_edit
            if column == "Edit" and bound is not None:
                yield _csv_row(table, row, "edit_time_lower_bound_s", bound, None)
            name = metric or _CSV[column]
            yield _csv_row(table, row, name, row.seconds(column), row.published.get(column))


def _quartiles(found: Mapping[str, float]) -> tuple[float, float, float]:
    return found["median"], found["lower"], found["upper"]


def _csv_row(
    table: Table,
    row: TimeRow,
    metric: str,
    found: tuple[float, float, float] | None,
    theirs: Published | None,
) -> tuple[str | int, ...]:
    return (
        table.number,
        row.cell.backbone,
        row.cell.n_edits,
        row.family,
        row.label,
        "",
        metric,
        "" if found is None else f"{found[0]:.6f}",
        "",
        int(found is not None),
        table.published_backbone,
        "" if theirs is None else f"{theirs.value:.4f}",
        "",
        "",
        row.cell.protocol_id,
        "" if found is None else f"{found[1]:.6f}",
        "" if found is None else f"{found[2]:.6f}",
    )
