"""Table 3: seconds of an edit and of an inference, a row for each editor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from bench.core.cells import check_one_way
from bench.core.grids import Table
from bench.core.numerics import Spread
from bench.core.published import UNEDITED, PublishedCell
from bench.core.published import numbers as published_numbers
from bench.evaluation.record_kinds import TimingCell
from bench.models.backbones import SEED
from bench.store.results import Record
from bench.tables.table import (
    CSV_COLUMNS,
    EMPTY,
    MAIN,
    METRIC_OPTIONS,
    Metric,
    Number,
    Row,
    View,
    changes_sentence,
    origin,
    published_sentence,
    recent_notes,
)
from editors import registry

GROUP = "seconds: median [quartiles]"
# Column -> (name in a record's summary, metric of the published tables or a name of ours).
COLUMNS = {
    "Edit": ("edit", "edit_time_s"),
    "Inference": ("forward", "infer_time_s"),
    "Overhead": ("overhead", "inference_over_unedited"),
    "Inference bf16": ("forward_bfloat16", "infer_time_bf16_s"),
    "Total": ("", "total_time_s"),  # the sum of the medians of an edit and an inference
    "20 tokens": ("generation", "20_tokens_s"),
    "Trained": ("trained_parameters", ""),
}
PRINTED = ("Edit", "Inference", "Total")  # in the paper
HOW = (
    "One inference: the editor's encoder and look-up, where it has them, and one teacher-forced "
    "forward of one prompt, batch size 1; overhead: over the same forward without the editor, "
    "measured in pairs; bf16: after the same edits, in bfloat16. Total: the sum "
    "of the medians of edit and inference. 20 tokens: greedy, with a cache. Trained: numbers in "
    "the editor's own weights. A dash: none, or not run."
)

Quartiles = tuple[float, float, float]  # median, lower, upper


def view(
    table: Table,
    cells: Sequence[TimingCell],
    records: Iterable[Record],
    _: Metric = METRIC_OPTIONS[MAIN],
) -> View:
    """The paper's layout: edit, inference and total time of every editor.

    Raises:
        ValueError: cells of several protocols.
    """
    check_one_way(cells)
    stored = {record["key"]: record for record in records}
    rows = [(cell, stored.get(cell.key())) for cell in cells]
    return View(
        table=table,
        caption=tuple(_caption(table, rows)),
        numbers=tuple(
            n for i, (cell, record) in enumerate(rows) for n in _numbers(table, i, cell, record)
        ),
        csv_columns=(*CSV_COLUMNS, "lower_quartile", "upper_quartile"),
    )


def published_edits(table: Table) -> int:
    """The only number of edits after which the paper has times."""
    (edits,) = {place.n_edits for place in published_numbers(table.number)}
    return edits


def _numbers(table: Table, line: int, cell: TimingCell, record: Record | None) -> Iterator[Number]:
    entry = None if cell.editor is None else registry.describe(cell.editor)
    row = Row(
        backbone=cell.backbone,
        n_edits=cell.n_edits,
        editor=cell.editor,
        label=entry.label if entry else "unedited",
        family=entry.family if entry else EMPTY,
        line=line,
    )
    summary = record["summary"] if record else {}
    published, edits = published_numbers(table.number), published_edits(table)
    for column, (name, metric) in COLUMNS.items():
        label = entry.label if entry else UNEDITED
        place = PublishedCell(table.number, edits, label, "", metric) if column in PRINTED else None
        blank = Number(
            row=row, group=GROUP, column=column, metric=metric, protocol=cell.protocol_id,
            cells=(cell,), place=place, published=published.get(place) if place else None,
        )  # fmt: skip
        if column == "Edit" and (least := _quartiles(summary.get("edit_least"))):
            bound = replace(blank, column="", metric="edit_time_lower_bound_s", published=None)
            yield replace(bound, ours=Spread(least[0], None, 1), extra=_extra(least))
        if column == "Trained":
            count = summary.get(name)
            yield replace(blank, value=EMPTY if count is None else f"{count:,}", ours=_one(count))
        elif column == "Overhead":
            ratio = summary.get(name)
            shown = None if ratio is None else f"{ratio:.2f}x"
            quartiles = None if ratio is None else (ratio, ratio, ratio)
            yield replace(blank, value=shown, ours=_one(ratio), extra=_extra(quartiles))
        else:
            yield _seconds(blank, summary)


def _seconds(blank: Number, summary: Mapping[str, Mapping[str, float]]) -> Number:
    """A median with its quartiles, or its bounds where edits may stop early."""
    edit, inference = _quartiles(summary.get("edit")), _quartiles(summary.get("forward"))
    least = _quartiles(summary.get("edit_least"))
    quartiles = _quartiles(summary.get(COLUMNS[blank.column][0]))
    if blank.column == "Total" and edit and inference:
        quartiles = (edit[0] + inference[0],) * 3  # a sum of medians has no quartiles
    if quartiles is None:
        return replace(blank, extra=_extra(None))
    median, lower, upper = quartiles
    value, spread = f"{median:.4f}", "" if lower == upper else f" [{lower:.4f}, {upper:.4f}]"
    if least and inference and blank.column in ("Edit", "Total"):
        bound = least[0] + (inference[0] if blank.column == "Total" else 0.0)
        value, spread = f"{bound:.4f} - {value}", ""
    return replace(
        blank, ours=Spread(median, None, 1), value=value, spread=spread, extra=_extra(quartiles)
    )


def _one(value: float | None) -> Spread | None:
    return None if value is None else Spread(value, None, 1)


def _quartiles(summary: Mapping[str, float] | None) -> Quartiles | None:
    return (summary["median"], summary["lower"], summary["upper"]) if summary else None


def _extra(quartiles: Quartiles | None) -> dict[str, str]:
    """Seconds in the CSV have more digits than the text, and quartiles beside them."""
    names = ("value", "lower_quartile", "upper_quartile")
    if quartiles is None:
        return dict.fromkeys(names, "")
    return {name: f"{value:.6f}" for name, value in zip(names, quartiles, strict=True)}


def _caption(table: Table, rows: Sequence[tuple[TimingCell, Record | None]]) -> Iterator[str]:
    cell = rows[0][0]
    machines = dict.fromkeys(machine_of(record) for _, record in rows if record is not None)
    published = published_sentence(
        table, cell.backbone, at=f" after {published_edits(table):,} edits",
        warning="another backbone on another machine: compare ratios",
    )  # fmt: skip
    yield (
        f"Table {table.number}: {table.title}, after n edits of {origin(cell)}, seed {cell.seed}."
    )
    yield (
        f"Measured on {cell.backbone} ({cell.dtype}), {' and '.join(machines) or 'not yet'}. "
        f"{published}"
    )
    yield f"{cell.queries} inferences, warmed up. {HOW} Protocol: {cell.protocol_id}."
    hparams = {cell.editor: cell.hparams for cell, _ in rows if cell.editor}
    yield from filter(None, [*_weights(cell), changes_sentence(cell.backbone, hparams)])
    yield from recent_notes(cell.editor for cell, _ in rows)


def _weights(cell: TimingCell) -> Iterator[str]:
    """What is random, and what stands in for the results of training."""
    if cell.weights == "random":
        lent = cell.tokenizer and f"; texts are cut by the tokenizer of {cell.tokenizer}"
        yield (
            f"Random weights (seed {SEED}), from the configuration alone{lent or ''}. Editors' own "
            "weights are untrained, and find an edit for every query; the key covariance is "
            "diagonal, and context prefixes are made-up text. Values do not matter to these times, "
            "but for edits that stop early: lower - upper are the medians of edits that all stop "
            "at the first chance, and that all run to their last step."
        )


def machine_of(record: Record) -> str:
    """`AMD EPYC, 1 thread`."""
    hardware, threads = record["provenance"]["hardware"], record["provenance"]["threads"]
    device = hardware.get("accelerator") or hardware["processor"]
    return f"{device}, {threads} thread{'s' * (threads > 1)}"
