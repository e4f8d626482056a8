"""The table of an optional metric set: editors x data sets, its columns under each data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product

from bench.core.cells import Cell, check_one_way
from bench.core.grids import Table
from bench.core.numerics import spread
from bench.datasets import get_dataset
from bench.evaluation.metric_sets import get_set
from bench.store.results import Record
from bench.tables.editing import row_of
from bench.tables.table import TOKEN_ACCURACY, UNDEFINED, Number, View, caption_of, notes

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
    return View(table=table, caption=caption, numbers=tuple(shown), csv_columns=CSV_COLUMNS)


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
