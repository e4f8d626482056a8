"""The table of one optional metric set: editors x data sets, as text and as CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.core.cells import Cell, check_one_way
from bench.core.grids import Table
from bench.core.numerics import Spread, spread
from bench.datasets import get_dataset
from bench.evaluation.metric_sets import get_set
from bench.store.results import Record
from bench.tables.columns import MAIN, SHOWN
from bench.tables.later_editors import marked, notes
from bench.tables.layout import LEAD, UNDEFINED, TextTable, number
from bench.tables.render import csv_of, decimal
from bench.tables.tabulate import Caption, Row, caption_of, row_of

CSV_COLUMNS = (
    "table",
    "measure",
    "backbone",
    "n_edits",
    "type",
    "editor",
    "dataset",
    "metric",
    "value",
    "std",
    "seeds",
    "protocol",
)


@dataclass(frozen=True, kw_only=True)
class MeasureData:
    """Everything that the table of a set shows."""

    name: str  # of the set
    table: Table
    backbone: str
    caption: Caption
    rows: tuple[Row, ...]
    columns: tuple[str, ...]  # of every data set
    values: Mapping[tuple[int, str, str, str], Spread]  # by n, row key, data set key, column
    protocols: Mapping[str, str]  # data set key -> id
    counts: frozenset[str]  # columns of whole numbers


def measure_data(
    name: str, table: Table, cells: Sequence[Cell], records: Iterable[Record]
) -> MeasureData:
    """Mean and spread over the seeds of every number that the set prints.

    Raises:
        ValueError: cells of several protocols.
    """
    check_one_way(cells)
    by_key = {record["key"]: record for record in records}
    done = [cell for cell in cells if _has(by_key.get(cell.key()), name)]
    shown = replace(SHOWN[MAIN], name=f"Metric set {name}")
    rows = {(row.n_edits, row.editor): row for row in map(row_of, cells)}
    found: dict[tuple[int, str, str, str], list[float]] = {}
    columns: list[str] = []
    for cell in done:
        numbers = get_set(name).columns(by_key[cell.key()]["summary"]["measures"][name])
        columns = merged(columns, [*numbers])
        for column, value in numbers.items():
            place = (cell.n_edits, row_of(cell).editor, cell.dataset, column)
            if value is not None:
                found.setdefault(place, []).append(value)
    return MeasureData(
        name=name,
        table=table,
        backbone=cells[0].backbone,
        caption=caption_of(table, cells, seeds={c.seed for c in done or cells}, shown=shown),
        rows=tuple(rows.values()),
        columns=tuple(columns),
        values={place: spread(values) for place, values in found.items()},
        protocols={cell.dataset: cell.protocol_id for cell in cells},
        counts=frozenset(columns)
        - {column for (*_, column), some in found.items() if not all(type(v) is int for v in some)},
    )


def by_dataset(data: MeasureData) -> TextTable:
    """The columns of the set under each data set."""
    one = get_set(data.name)
    return TextTable(
        caption=(
            f"Table {data.table.number}, {data.name}: {one.title}; version {one.version}.",
            data.caption.measured,
            data.caption.protocol,
            f"{data.caption.seeds} {UNDEFINED}",
            *filter(None, [data.caption.changes]),
            *notes(row.editor for row in data.rows),
        ),
        groups=(("", LEAD), *((get_dataset(key).label, data.columns) for key in data.protocols)),
        rows=tuple(
            (
                f"{row.n_edits:,}",
                row.family,
                marked(row.label, row.editor),
                *(
                    _text(data, (row.n_edits, row.editor, key, column))
                    for key in data.protocols
                    for column in data.columns
                ),
            )
            for row in data.rows
        ),
        breaks=tuple(
            i for i, row in enumerate(data.rows) if i and row.n_edits != data.rows[i - 1].n_edits
        ),
    )


def merged(columns: Sequence[str], more: Sequence[str]) -> list[str]:
    """The columns with others among them, each behind the one that it follows."""
    found = list(columns)
    place = 0
    for column in more:
        if column in found:
            place = found.index(column) + 1
        else:
            found.insert(place, column)
            place += 1
    return found


def _text(data: MeasureData, place: tuple[int, str, str, str]) -> str:
    found = data.values.get(place)
    if found is not None and place[-1] in data.counts and not found.std:
        return f"{found.mean:,.0f}"
    return number(found)


def to_csv(data: MeasureData) -> str:
    """One line per number."""
    return csv_of(CSV_COLUMNS, _csv_rows(data))


def _csv_rows(data: MeasureData) -> Iterator[tuple[str | int, ...]]:
    for row in data.rows:
        for key, protocol in data.protocols.items():
            for column in data.columns:
                found = data.values.get((row.n_edits, row.editor, key, column))
                yield (
                    data.table.number,
                    data.name,
                    data.backbone,
                    row.n_edits,
                    row.family,
                    row.label,
                    get_dataset(key).label,
                    column,
                    decimal(found.mean if found else None),
                    decimal(found.std if found else None),
                    found.n if found else 0,
                    protocol,
                )


def _has(record: Record | None, name: str) -> bool:
    return record is not None and name in record["summary"].get("measures", {})
