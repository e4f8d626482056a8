"""The table of an optional metric set: editors x data sets, its columns under each data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product

from bench.core.cells import Cell, check_one_way
from bench.core.grids import Table
from bench.core.numerics import spread
from bench.datasets import get_dataset
from bench.evaluation.metric_sets import get_set
from bench.store.results import Record
from bench.tables.editing import row_of
from bench.tables.table import (
    MAIN,
    METRIC_OPTIONS,
    UNDEFINED,
    Number,
    View,
    caption_of,
    recent_notes,
)

CSV_COLUMNS = (
    "table", "measure", "backbone", "n_edits", "type", "editor", "dataset", "metric", "value",
    "std", "seeds", "protocol",
)  # fmt: skip


def view(name: str, table: Table, cells: Sequence[Cell], records: Iterable[Record]) -> View:
    """Mean and spread over the seeds of every number that the set prints.

    Raises:
        ValueError: cells of several protocols.
    """
    check_one_way(cells)
    metric_set = get_set(name)
    stored = {record["key"]: record for record in records}
    measures = [(cell, stored.get(cell.key(), {}).get("summary", {}).get("measures", {}))
                for cell in cells]  # fmt: skip
    done = [(cell, metric_set.columns(own[name])) for cell, own in measures if name in own]
    columns: list[str] = []
    values: dict[tuple[object, ...], list[float]] = {}
    for cell, numbers in done:
        columns = merged(columns, [*numbers])
        for column, value in numbers.items():
            if value is not None:
                values.setdefault((row_of(cell), cell.dataset, column), []).append(value)
    counts = _counts(columns, values)
    rows = dict.fromkeys(map(row_of, cells))
    protocols = {cell.dataset: cell.protocol_id for cell in cells}
    shown: list[Number] = []
    for row, (dataset, protocol), column in product(rows, protocols.items(), columns):
        own = values.get((row, dataset, column))
        number = Number(
            row=row,
            dataset=get_dataset(dataset).label,
            group=get_dataset(dataset).label,
            column=column,
            metric=column,
            ours=spread(own) if own else None,
            protocol=protocol,
            extra={"measure": name},
        )
        if number.ours and column in counts and not number.ours.std:
            number = replace(number, value=f"{number.ours.mean:,.0f}", spread="")
        shown.append(number)
    seeds = {cell.seed for cell, _ in done} or {cell.seed for cell in cells}
    metric = replace(METRIC_OPTIONS[MAIN], name=f"Metric set {name}")
    about = caption_of(table, cells, seeds=seeds, metric=metric)
    return View(
        table=table,
        caption=(
            f"Table {table.number}, {name}: {metric_set.title}; version {metric_set.version}.",
            about.measured,
            about.protocol,
            f"{about.seeds} {UNDEFINED}",
            *filter(None, [about.changes]),
            *recent_notes(row.editor for row in rows),
        ),
        numbers=tuple(shown),
        csv_columns=CSV_COLUMNS,
    )


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


def _counts(
    columns: Iterable[str], values: Mapping[tuple[object, ...], Sequence[float]]
) -> frozenset[str]:
    """Columns that hold whole numbers alone."""
    parts = {column for (*_, column), own in values.items() if any(type(v) is not int for v in own)}
    return frozenset(columns) - parts
