"""Tables 1, 5 and 6: reliability, generality and locality of every editor on every data set.

The optional metric sets have tables of the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

from bench.core.cells import Cell, check_one_way
from bench.core.grids import Table, row_variant
from bench.core.names import MODELS
from bench.core.numerics import Spread, spread
from bench.core.published import PublishedCell
from bench.datasets import get_dataset
from bench.datasets.ripple_edits import GENERALITY_TYPES, LOCALITY_TYPES, RippleEdits
from bench.evaluation.intervals import intervals
from bench.evaluation.metric_sets import get_set
from bench.store.results import Record
from bench.tables.significance import (
    FAVOURITE,
    LEVEL,
    Comparison,
    Place,
    ahead_of_the_best,
    comparisons,
    shares_samples,
)
from bench.tables.table import (
    CSV_COLUMNS,
    DEPENDENT,
    METRICS,
    PORTABILITY,
    SIGNIFICANT,
    TOKEN_ACCURACY,
    UNDEFINED,
    Caption,
    Interval,
    Metric,
    Number,
    Row,
    TextTable,
    View,
    absent_sentences,
    caption_of,
    notes,
    over_seeds,
    remarks_of,
    unusual,
    with_best,
)
from editors import registry

LED = "Avg"  # the column in which leads are tested
PROMPT_ONLY = "P-only"
HONEST = (
    "P-only: Avg of retrieval editors that look up the prompt alone, not the target's leading "
    f"tokens. {UNDEFINED}"
)
PORTED = (
    "Port: questions whose answers follow from the edit, which are no part of Avg; Port-K: those "
    "of them whose other facts the unedited model knows (exact match)."
)
# What a reader must know to compare the rows of a miniature backbone.
EMBEDDED_CAVEATS = (
    "The miniature backbones were taught to follow one to three bare words in front of a text, as "
    "RECIPE's prompts are, and LTE's template; their encoder was taught which wordings of the test "
    "files mean the same. Table 4 has RECIPE on a backbone without the former. Hyper-parameters "
    "were chosen on training edits: in 20 trials of FT and GRACE, 9 of MEMIT, 4 of ROME, 3 of TP, "
    "2 of WILKE; by hand, without a count, for MEND, MALMEN, R-ROME, LTE and RECIPE."
)
SET_COLUMNS = (
    "table", "measure", "backbone", "n_edits", "type", "editor", "dataset", "metric", "value",
    "std", "seeds", "protocol",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class EditingView(View):
    """A table of editing, with what its other views show."""

    about: Caption
    kinds: tuple[Number, ...]  # RippleEdits by type of probe
    comparisons: tuple[Comparison, ...]  # over the seeds


def view(
    table: Table, cells: Sequence[Cell], records: Iterable[Record], metric: Metric = TOKEN_ACCURACY
) -> EditingView:
    """The paper's layout: per data set Rel, Gen, Loc, Avg, each with the published value.

    Records without answers of the metric's channel count as missing; see `bench.tables.view`.
    """
    check_one_way(cells)
    stored = {record["key"]: record for record in records}
    planned: dict[tuple[Row, str], list[Cell]] = {}
    for cell in cells:
        planned.setdefault((row_of(cell), cell.dataset), []).append(cell)
    protocols = {cell.dataset: cell.protocol_id for cell in cells}
    numbers: list[Number] = []
    kinds: list[Number] = []
    ported = _ported(stored[cell.key()] for cell in cells if cell.key() in stored)
    for row in dict.fromkeys(row for row, _ in planned):
        scored: dict[str, list[Record]] = {}
        for dataset, protocol in protocols.items():
            label, own = get_dataset(dataset).label, planned.get((row, dataset), [])
            scored[dataset] = [r for cell in own if (r := stored.get(cell.key()))
                               and metric.channel in r["summary"]["scores"]["after"]]  # fmt: skip
            blank = Number(row=row, dataset=label, group=label, protocol=protocol, cells=tuple(own))
            columns = METRICS | (PORTABILITY if dataset in ported else {})
            numbers += _numbers(table, blank, scored[dataset], metric, columns)
        kinds += _by_kind(row, scored.get(RippleEdits.key, []), metric)
    averages = [n for n in numbers if n.metric == LED and n.ours and not n.row.variant]
    compared = comparisons(
        {(n.row.n_edits, n.row.label, n.dataset): n.by_seed for n in averages},
        sharing=_sharing(stored[cell.key()] for cell in cells if cell.key() in stored),
    )
    leads = {(n_edits, FAVOURITE, data, LED) for n_edits, data in ahead_of_the_best(compared)}
    marked = (
        replace(n, significant=(n.row.n_edits, n.row.label, n.dataset, n.metric) in leads)
        for n in with_best(numbers)
    )
    done = [cell for cell in cells if cell.key() in stored]
    about = caption_of(table, cells, seeds={cell.seed for cell in done or cells}, metric=metric)
    caption = (
        *_caption(about, cells, numbers, compared),
        *unusual(stored[cell.key()] for cell in done),
    )
    return EditingView(
        table=table, caption=caption, about=about,
        numbers=tuple(marked), kinds=tuple(kinds), comparisons=compared,
        csv_columns=(*CSV_COLUMNS, "low", "high", "interval_over"),
    )  # fmt: skip


def _sharing(records: Iterable[Record]) -> frozenset[Place]:
    """Where the seeds of these records have samples in common."""
    cells: dict[tuple[int, str, int], list[Cell]] = {}
    for record in records:
        cell = Cell.from_dict(record["cell"])
        place = cell.n_edits, get_dataset(cell.dataset).label, record["data"]["samples"]
        cells.setdefault(place, []).append(cell)
    return frozenset(
        (n_edits, label)
        for (n_edits, label, rows), own in cells.items()
        if shares_samples(own, rows)
    )


def row_of(cell: Cell) -> Row:
    """The line of a cell's editor, or of its variant."""
    entry, variant = registry.describe(cell.editor), row_variant(cell.editor, cell.hparams)
    return Row(
        backbone=cell.backbone, n_edits=cell.n_edits, family=entry.family,
        editor=f"{cell.editor}/{variant.key}" if variant else cell.editor,
        label=(variant or entry).label, variant=variant is not None,
    )  # fmt: skip


def _ported(records: Iterable[Record]) -> set[str]:
    """Data sets with questions whose answers follow from the edit."""
    return {
        record["cell"]["dataset"]
        for record in records
        if any(
            "portability" in scores
            for measures in record["summary"]["scores"]["after"].values()
            for scores in measures.values()
        )
    }


def _numbers(
    table: Table,
    blank: Number,
    records: Sequence[Record],
    metric: Metric,
    columns: Mapping[str, str],
) -> Iterator[Number]:
    """The columns over the records of different seeds, and Avg by the prompt alone."""
    scores = [r["summary"]["scores"]["after"][metric.channel][metric.measure] for r in records]
    by_seed = [(r["cell"]["seed"], own) for r, own in zip(records, scores, strict=True)]
    spreads, remarks, row = over_seeds(scores), remarks_of(records), blank.row
    bounds = _intervals(records[0], metric) if len(records) == 1 else {}
    printed = metric.published(table)
    for column, name in columns.items():
        place = PublishedCell(table.number, row.n_edits, row.label, blank.dataset, column)
        yield replace(
            blank, column=column, metric=column, ours=spreads.get(name),
            by_seed={seed: 100 * own[name] for seed, own in by_seed if name in own},
            place=None if row.variant else place, published=printed.get(place), remarks=remarks,
            competes=not row.variant, interval=bounds.get(name),
        )  # fmt: skip
    yield replace(
        blank, column=PROMPT_ONLY, metric="Avg prompt_only", ours=_prompt_only(records, metric),
        extra={"remark": "; ".join(remarks)},
    )  # fmt: skip


def _intervals(record: Record, metric: Metric) -> Mapping[str, Interval]:
    """The bootstrap intervals of a record's scores, by name; early references have none."""
    own = record.get("intervals") or intervals(record.get("rows", ()))
    bounds = own.get("scores", {}).get(metric.channel, {}).get(metric.measure, {})
    return {
        name: Interval(low=100 * low, high=100 * high, over=own["over"])
        for name, (low, high) in bounds.items()
    }


def _prompt_only(records: Sequence[Record], metric: Metric) -> Spread | None:
    """Avg with the honest retrieval text; generated answers have no other."""
    if not records or metric.channel == "generated" or not records[0]["editor"]["retrieves_text"]:
        return None
    after = [record["summary"]["scores"]["after"]["prompt_only"] for record in records]
    return over_seeds([scores[metric.measure] for scores in after]).get(METRICS[LED])


def _by_kind(row: Row, records: Sequence[Record], metric: Metric) -> Iterator[Number]:
    kinds = [record["summary"]["kinds"]["after"] for record in records]
    spreads = over_seeds([channels[metric.channel][metric.measure] for channels in kinds])
    for aspect, types in (("generality", GENERALITY_TYPES), ("locality", LOCALITY_TYPES)):
        for name in types:
            column, ours = name.replace("_", " "), spreads.get(f"{aspect}/{name}")
            yield Number(row=row, group=RippleEdits.label, column=column, ours=ours)


def _caption(
    about: Caption, cells: Sequence[Cell], numbers: Sequence[Number], compared: Sequence[Comparison]
) -> Iterator[str]:
    yield from (about.title, f"{about.measured} {about.published}", about.protocol)
    yield f"{about.seeds} {HONEST}"
    if any(n.interval for n in numbers):
        yield (
            "In brackets the bootstrap interval (95 %) of the average of one seed, over its blocks "
            f"of edits; {DEPENDENT}: too few blocks, over its samples, which depend on each other."
        )
    tests = sum(comparison.paired is not None for comparison in compared)
    yield "Bold: the best editor. " + (
        f"{SIGNIFICANT}: {FAVOURITE} is above the best other editor by a two-sided paired t-test "
        f"over seeds, p < {LEVEL} after Holm's correction of {tests} tests."
        if tests
        else f"Significance is not tested: that takes {FAVOURITE}, another editor and several "
        "seeds without common samples."
    )
    yield from filter(None, [about.changes])
    if any(n.column in PORTABILITY for n in numbers):
        yield PORTED
    yield from twins(numbers)
    if any(cell.backbone in MODELS for cell in cells):
        yield EMBEDDED_CAVEATS
    variants = {v.key: v for c in cells if (v := row_variant(c.editor, c.hparams))}
    yield from (f"{variant.label}: {variant.about}" for variant in variants.values())
    yield from absent_sentences(_absent(numbers))
    yield from notes(numbers)


def twins(numbers: Sequence[Number]) -> Iterator[str]:
    """A sentence for each two editors that have the same scores at all seeds and on all data."""
    rows: dict[int, dict[str, dict[tuple[str, str], Mapping[int, float]]]] = {}
    for n in numbers:
        if n.by_seed:
            own = rows.setdefault(n.row.n_edits, {}).setdefault(n.row.label, {})
            own[n.dataset, n.metric] = n.by_seed
    places: dict[tuple[str, str], list[str]] = {}
    for n_edits, editors in rows.items():
        for pair in combinations(editors, 2):
            if editors[pair[0]] == editors[pair[1]]:
                places.setdefault(pair, []).append(f"{n_edits:,}")
    for (first, second), listed in places.items():
        yield f"{second} has the same scores as {first} at n = {', '.join(listed)}."


def _absent(numbers: Sequence[Number]) -> dict[str, list[str]]:
    """The columns without a number of data sets that were run."""
    ran = {(n.row, n.dataset) for n in numbers if n.column in METRICS and n.ours}
    lacking: dict[str, list[str]] = {}
    for n in numbers:
        if n.column in METRICS and n.ours is None and (n.row, n.dataset) in ran:
            lacking.setdefault(n.dataset, []).append(n.column)
    return lacking


def averages(whole: EditingView) -> TextTable:
    """Avg alone, a column per data set: the table at a glance."""
    caption = (line.replace(HONEST, UNDEFINED) for line in whole.caption)
    numbers = (replace(n, group=LED, column=n.dataset) for n in whole.numbers if n.metric == LED)
    return replace(whole, caption=tuple(caption), numbers=tuple(numbers)).text


def by_kind(whole: EditingView) -> TextTable:
    """Scores on RippleEdits by its six types of probe."""
    about, mean = whole.about, "mean over the samples that have the type, in percent."
    title = f"{RippleEdits.label} by type of probe: {mean}"
    measured = filter(None, (about.measured, about.protocol, about.seeds, about.changes))
    caption = (title, *measured, *notes(whole.numbers))
    return replace(whole, caption=caption, numbers=whole.kinds).text


def view_of_set(name: str, table: Table, cells: Sequence[Cell], records: Iterable[Record]) -> View:
    """The table of an optional metric set: its columns under each data set, over the seeds.

    Raises:
        ValueError: cells of several protocols.
    """
    check_one_way(cells)
    metric_set, stored = get_set(name), {record["key"]: record for record in records}
    done: list[Cell] = []
    columns: list[str] = []
    values: dict[tuple[object, ...], list[float]] = {}
    for cell in cells:
        record = stored.get(cell.key())
        if record is None or name not in record["summary"].get("measures", {}):
            continue
        done.append(cell)
        numbers = metric_set.columns(record["summary"]["measures"][name])
        columns = merged(columns, [*numbers])
        for column, value in numbers.items():
            if value is not None:
                values.setdefault((row_of(cell), cell.dataset, column), []).append(value)
    # Columns that hold whole numbers alone are counts.
    parts = {column for (*_, column), own in values.items() if any(type(v) is not int for v in own)}
    rows = dict.fromkeys(map(row_of, cells))
    protocols = {cell.dataset: cell.protocol_id for cell in cells}
    shown: list[Number] = []
    for row, (dataset, protocol), column in product(rows, protocols.items(), columns):
        label, own = get_dataset(dataset).label, values.get((row, dataset, column))
        ours = spread(own) if own else None
        count = ours and column not in parts and not ours.std
        shown.append(
            Number(
                row=row, dataset=label, group=label, column=column, metric=column, ours=ours,
                protocol=protocol, extra={"measure": name},
                value=f"{ours.mean:,.0f}" if ours and count else None, spread="" if count else None,
            )
        )  # fmt: skip
    metric = replace(TOKEN_ACCURACY, name=f"Metric set {name}")
    about = caption_of(table, cells, seeds={cell.seed for cell in done or cells}, metric=metric)
    caption = (
        f"Table {table.number}, {name}: {metric_set.title}; version {metric_set.version}.",
        about.measured,
        about.protocol,
        f"{about.seeds} {UNDEFINED}",
        *filter(None, [about.changes]),
        *notes([Number(row=row) for row in rows]),
    )
    return View(table=table, caption=caption, numbers=tuple(shown), csv_columns=SET_COLUMNS)


def merged(columns: Sequence[str], more: Sequence[str]) -> list[str]:
    """The columns with others among them, each after the one that it follows."""
    both = list(columns)
    place = 0
    for column in more:
        if column in both:
            place = both.index(column) + 1
        else:
            both.insert(place, column)
            place += 1
    return both
