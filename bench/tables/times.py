"""Table 3: seconds of an edit and of an inference, a row for each editor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

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
    Metric,
    Number,
    Row,
    View,
    changes_sentence,
    notes,
    origin,
    published_sentence,
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
RANDOM = (
    f"Random weights (seed {SEED}), from the configuration alone{{lent}}. Editors' own weights are "
    "untrained, and find an edit for every query; the key covariance is diagonal, and context "
    "prefixes are invented text. Values do not matter to these times, but for edits that stop "
    "early: lower - upper are the medians of edits that all stop at the first chance, and that all "
    "run to their last step."
)

_DIGITS = ("value", "lower_quartile", "upper_quartile")  # six in the CSV
Quartiles = tuple[float, float, float]  # median, lower, upper


def view(
    table: Table, cells: Sequence[TimingCell], records: Iterable[Record], _: Metric | None = None
) -> View:
    """The paper's layout: edit, inference and total time of every editor; see `bench.tables.view`.

    Times are not averaged over seeds: each cell is a line.
    """
    check_one_way(cells)
    stored = {record["key"]: record for record in records}
    done = [stored[cell.key()] for cell in cells if cell.key() in stored]
    numbers = [
        n
        for line, cell in enumerate(cells)
        for n in _numbers(table, line, cell, stored.get(cell.key(), {}).get("summary", {}))
    ]
    return View(
        table=table, caption=tuple(_caption(table, cells, done, numbers)), numbers=tuple(numbers),
        csv_columns=(*CSV_COLUMNS, "lower_quartile", "upper_quartile"),
    )  # fmt: skip


def _numbers(
    table: Table, line: int, cell: TimingCell, summary: Mapping[str, Any]
) -> Iterator[Number]:
    entry = None if cell.editor is None else registry.describe(cell.editor)
    row = Row(
        backbone=cell.backbone, n_edits=cell.n_edits, editor=cell.editor, line=line,
        label=entry.label if entry else "unedited", family=entry.family if entry else EMPTY,
    )  # fmt: skip
    label, printed = entry.label if entry else UNEDITED, published_numbers(table.number)
    for column, (_, metric) in COLUMNS.items():
        place = PublishedCell(table.number, _published_edits(table), label, "", metric)
        blank = Number(
            row=row, group=GROUP, column=column, metric=metric, protocol=cell.protocol_id,
            cells=(cell,), extra=dict.fromkeys(_DIGITS, ""), published=printed.get(place),
            place=place if column in PRINTED else None,
            value=EMPTY if column == "Trained" else None,
        )  # fmt: skip
        least, quartiles = _quartiles("edit_least", summary), _of_column(column, summary)
        if column == "Edit" and least:
            bound = replace(blank, column="", metric="edit_time_lower_bound_s", published=None)
            yield _measured(bound, least)
        if quartiles is not None:
            value, spread = _texts(column, quartiles, summary)
            blank = replace(_measured(blank, quartiles), value=value, spread=spread)
        yield blank


def _measured(blank: Number, quartiles: Quartiles) -> Number:
    """With its median, which has more digits in the CSV than in the text, and quartiles."""
    extra = dict(zip(_DIGITS, (f"{q:.6f}" for q in quartiles), strict=True))
    return replace(blank, ours=Spread(quartiles[0], None, 1), extra=extra)


def _of_column(column: str, summary: Mapping[str, Any]) -> Quartiles | None:
    if column != "Total":
        return _quartiles(COLUMNS[column][0], summary)
    edit, inference = _quartiles("edit", summary), _quartiles("forward", summary)
    return (edit[0] + inference[0],) * 3 if edit and inference else None


def _quartiles(name: str, summary: Mapping[str, Any]) -> Quartiles | None:
    """Of a plain number, which has no quartiles, it three times."""
    value = summary.get(name)
    if isinstance(value, Mapping):
        return value["median"], value["lower"], value["upper"]
    return None if value is None else (value,) * 3


def _texts(column: str, quartiles: Quartiles, summary: Mapping[str, Any]) -> tuple[str, str]:
    """A number and its quartiles, or its bounds where edits may stop early."""
    median, lower, upper = quartiles
    if column in ("Trained", "Overhead"):
        return f"{median:,}" if column == "Trained" else f"{median:.2f}x", ""
    least = summary.get("edit_least")
    if least and column in ("Edit", "Total"):
        bound = least["median"] + (summary["forward"]["median"] if column == "Total" else 0.0)
        return f"{bound:.4f} - {median:.4f}", ""
    return f"{median:.4f}", "" if lower == upper else f" [{lower:.4f}, {upper:.4f}]"


def _published_edits(table: Table) -> int:
    """The only number of edits after which the paper has times."""
    (edits,) = {place.n_edits for place in published_numbers(table.number)}
    return edits


def _caption(
    table: Table, cells: Sequence[TimingCell], done: Iterable[Record], numbers: Sequence[Number]
) -> Iterator[str]:
    cell = cells[0]
    published = published_sentence(
        table, cell.backbone, at=f" after {_published_edits(table):,} edits",
        other=" on another machine: compare ratios",
    )  # fmt: skip
    yield (
        f"Table {table.number}: {table.title}, after n edits of {origin(cell)}, seed {cell.seed}."
    )
    yield (
        f"Measured on {cell.backbone} ({cell.dtype}), "
        f"{' and '.join(dict.fromkeys(map(machine_of, done))) or 'not yet'}. {published}"
    )
    yield f"{cell.queries} inferences, warmed up. {HOW} Protocol: {cell.protocol_id}."
    if cell.weights == "random":
        lent = f"; texts are cut by the tokenizer of {cell.tokenizer}" if cell.tokenizer else ""
        yield RANDOM.format(lent=lent)
    hparams = {cell.editor: cell.hparams for cell in cells if cell.editor}
    yield from filter(None, [changes_sentence(cell.backbone, hparams)])
    yield from notes(numbers)


def machine_of(record: Record) -> str:
    """`AMD EPYC, 1 thread`."""
    hardware, threads = record["provenance"]["hardware"], record["provenance"]["threads"]
    device = hardware.get("accelerator") or hardware["processor"]
    return f"{device}, {threads} thread{'s' * (threads > 1)}"
