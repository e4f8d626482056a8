"""Tables 1, 5 and 6: reliability, generality and locality of every editor on every data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from bench.core.cells import Cell, check_one_way
from bench.core.grids import Table, row_variant
from bench.core.numerics import Spread
from bench.core.published import PublishedCell
from bench.core.published import numbers as published_numbers
from bench.datasets import get_dataset
from bench.datasets.ripple_edits import GENERALITY_TYPES, LOCALITY_TYPES, RippleEdits
from bench.store.results import Record
from bench.tables.significance import FAVOURITE, LEVEL, Comparison, ahead_of_the_best, comparisons
from bench.tables.table import (
    MAIN,
    METRIC_OPTIONS,
    METRICS,
    REMARKED,
    UNDEFINED,
    Caption,
    Metric,
    Number,
    Row,
    TextTable,
    View,
    caption_of,
    over_seeds,
    recent_notes,
    remark_notes,
    remarks_of,
    with_best,
)
from editors import registry

LED = "Avg"  # the column in which leads are tested
SIGNIFICANT = "\u2021"  # a double dagger
PROMPT_ONLY = "P-only"
HONEST = (
    "P-only: Avg of retrieval editors that look up the prompt alone, not the target's leading "
    f"tokens. {UNDEFINED}"
)
_MEAN = "mean over the samples that have the type, in percent."
_KINDS = (
    *(f"generality/{kind}" for kind in GENERALITY_TYPES),
    *(f"locality/{kind}" for kind in LOCALITY_TYPES),
)


@dataclass(frozen=True, kw_only=True)
class EditingView(View):
    """A table of editing, with what its other views show."""

    about: Caption
    kinds: tuple[Number, ...]  # RippleEdits by type of probe
    comparisons: tuple[Comparison, ...]  # over the seeds


def view(
    table: Table,
    cells: Sequence[Cell],
    records: Iterable[Record],
    metric: Metric = METRIC_OPTIONS[MAIN],
) -> EditingView:
    """The paper's layout: per data set Rel, Gen, Loc, Avg, each with the published value.

    Records without answers of the metric's channel count as missing.

    Raises:
        ValueError: cells of several protocols, which no column may mix.
    """
    check_one_way(cells)
    stored = {record["key"]: record for record in records}
    planned: dict[tuple[Row, str], list[Cell]] = {}
    for cell in cells:
        planned.setdefault((row_of(cell), cell.dataset), []).append(cell)
    scored = {
        place: [
            record
            for cell in own
            if (record := stored.get(cell.key()))
            and metric.channel in record["summary"]["scores"]["after"]
        ]
        for place, own in planned.items()
    }
    rows = list(dict.fromkeys(row for row, _ in planned))
    protocols = {cell.dataset: cell.protocol_id for cell in cells}
    numbers: list[Number] = []
    for row, dataset in product(rows, protocols):
        label, own = get_dataset(dataset).label, scored.get((row, dataset), [])
        blank = Number(
            row=row, dataset=label, group=label, protocol=protocols[dataset],
            cells=tuple(planned.get((row, dataset), ())), remarks=remarks_of(own),
        )  # fmt: skip
        numbers += _numbers(table, blank, own, metric)
    compared = comparisons(
        {
            (n.row.n_edits, n.row.label, n.dataset): n.by_seed
            for n in numbers
            if n.metric == LED and n.ours and not n.row.variant
        }
    )
    done = [cell for cell in cells if cell.key() in stored]
    about = caption_of(table, cells, seeds={cell.seed for cell in done or cells}, metric=metric)
    return EditingView(
        table=table,
        caption=(
            about.title,
            f"{about.measured} {about.published}",
            about.protocol,
            f"{about.seeds} {HONEST}",
            _emphasis(compared),
            *filter(None, [about.changes]),
            *_variants(cells),
            *remark_notes(numbers),
            *recent_notes(row.editor for row in rows),
        ),
        numbers=_with_leads(with_best(numbers), compared),
        about=about,
        kinds=tuple(
            n for row in rows for n in _by_kind(row, scored.get((row, RippleEdits.key), []), metric)
        ),
        comparisons=compared,
    )


def averages(whole: EditingView) -> TextTable:
    """Avg alone, a column per data set: the table at a glance."""
    return replace(
        whole,
        caption=tuple(line.replace(HONEST, UNDEFINED) for line in whole.caption),
        numbers=tuple(
            replace(n, group=LED, column=n.dataset) for n in whole.numbers if n.metric == LED
        ),
    ).text


def by_kind(whole: EditingView) -> TextTable:
    """Scores on RippleEdits by its six types of probe."""
    about = whole.about
    return replace(
        whole,
        caption=(
            f"{RippleEdits.label} by type of probe: {_MEAN}",
            about.measured,
            about.protocol,
            about.seeds,
            *filter(None, [about.changes]),
            *remark_notes(whole.numbers),
            *recent_notes(row.editor for row in whole.rows),
        ),
        numbers=whole.kinds,
    ).text


def row_of(cell: Cell) -> Row:
    """The line of a cell's editor, or of its variant."""
    entry, variant = registry.describe(cell.editor), row_variant(cell.editor, cell.hparams)
    return Row(
        backbone=cell.backbone,
        n_edits=cell.n_edits,
        editor=cell.editor if variant is None else f"{cell.editor}/{variant.key}",
        label=entry.label if variant is None else variant.label,
        family=entry.family,
        variant=variant is not None,
    )


def _numbers(
    table: Table, blank: Number, records: Sequence[Record], metric: Metric
) -> Iterator[Number]:
    """Rel, Gen, Loc and Avg over the records of different seeds, and Avg by the prompt alone."""
    after = [record["summary"]["scores"]["after"] for record in records]
    scores = [channels[metric.channel][metric.measure] for channels in after]
    by_seed = [(r["cell"]["seed"], own) for r, own in zip(records, scores, strict=True)]
    spreads, printed = over_seeds(scores), published_numbers(table.number)
    for column, name in METRICS.items():
        place = PublishedCell(
            table.number, blank.row.n_edits, blank.row.label, blank.dataset, column
        )
        yield replace(
            blank,
            column=column,
            metric=column,
            ours=spreads.get(name),
            by_seed={seed: 100 * own[name] for seed, own in by_seed if name in own},
            place=None if blank.row.variant else place,
            published=printed.get(place) if metric.published else None,
            marks=REMARKED if blank.remarks else "",
            competes=not blank.row.variant,
        )
    yield replace(
        blank, column=PROMPT_ONLY, metric="Avg prompt_only", ours=_prompt_only(records, metric)
    )


def _prompt_only(records: Sequence[Record], metric: Metric) -> Spread | None:
    """Avg with the honest retrieval text; generated answers have no other."""
    if not records or metric.channel == "generated" or not records[0]["editor"]["retrieves_text"]:
        return None
    after = [record["summary"]["scores"]["after"]["prompt_only"] for record in records]
    return over_seeds([scores[metric.measure] for scores in after]).get(METRICS[LED])


def _by_kind(row: Row, records: Sequence[Record], metric: Metric) -> Iterator[Number]:
    kinds = [record["summary"]["kinds"]["after"] for record in records]
    spreads = over_seeds([channels[metric.channel][metric.measure] for channels in kinds])
    for kind in _KINDS:
        column = kind.partition("/")[2].replace("_", " ")
        yield Number(row=row, group=RippleEdits.label, column=column, ours=spreads.get(kind))


def _with_leads(numbers: Sequence[Number], compared: Sequence[Comparison]) -> tuple[Number, ...]:
    """The numbers, with a mark on RECIPE's Avg where it is significantly the best."""
    leads = ahead_of_the_best(compared)
    return tuple(
        replace(n, marks=SIGNIFICANT + n.marks)
        if (n.row.label, n.metric) == (FAVOURITE, LED) and (n.row.n_edits, n.dataset) in leads
        else n
        for n in numbers
    )


def _emphasis(compared: Sequence[Comparison]) -> str:
    """What bold numbers and the mark mean, or why there is no mark."""
    tests = sum(comparison.paired is not None for comparison in compared)
    if not tests:
        return (
            f"Bold: the best editor. Significance is not tested: that takes {FAVOURITE}, another "
            "editor and several seeds."
        )
    return (
        f"Bold: the best editor. {SIGNIFICANT}: {FAVOURITE} is above the best other editor by a "
        f"two-sided paired t-test over seeds, p < {LEVEL} after Holm's correction of {tests} tests."
    )


def _variants(cells: Iterable[Cell]) -> Iterator[str]:
    """What the lines are that are no editor of their own."""
    variants = {v.key: v for c in cells if (v := row_variant(c.editor, c.hparams))}
    yield from (f"{variant.label}: {variant.about}" for variant in variants.values())
