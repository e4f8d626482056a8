"""Tables 2, 3 and 4 of the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bench.core.cells import Cell
from bench.core.grids import Table, ablation_of
from bench.core.names import row_order
from bench.core.numerics import Spread
from bench.core.published import Published
from bench.datasets import get_dataset
from bench.evaluation.record_kinds import AbilityCell, TimingCell
from bench.report.editing import SHORT
from bench.report.grid import Column, Grid, GridRow, Value, cell_link, measured, on_page, plain
from bench.report.sources import layers, under_one_head
from bench.store.results import Record
from bench.tables.ablation.layout import by_part
from bench.tables.ablation.layout import to_csv as ablation_csv
from bench.tables.ablation.tabulate import AblationRow, AblationTable
from bench.tables.ablation.tabulate import tabulate as tabulate_ablation
from bench.tables.columns import MAIN, SHOWN
from bench.tables.general_ability.layout import SHOWN as ABILITY_COLUMNS
from bench.tables.general_ability.layout import by_task
from bench.tables.general_ability.layout import to_csv as ability_csv
from bench.tables.general_ability.tabulate import AbilityRowData, AbilityTable
from bench.tables.general_ability.tabulate import tabulate as tabulate_ability
from bench.tables.later_editors import marked
from bench.tables.layout import EMPTY, REMARKED, TextTable
from bench.tables.tabulate import METRICS
from bench.tables.times import COLUMNS as TIME_COLUMNS
from bench.tables.times import TimeRow, by_editor, time_rows
from bench.tables.times import to_csv as time_csv

ABILITY_FILTERS = ("Editor", "Edit set", "Edits", "Backbone", "Scoring", "Protocol")
TIME_FILTERS = ("Editor", "Edits", "Data set", "Backbone", "Protocol")
ABLATION_FILTERS = ("Editor", "Edits", "Backbone", "Protocol")
_EDITS = Column(name="Edits", number=True, about="number of sequential edits")


def ability_table(
    table: Table, cells: Sequence[AbilityCell], records: Sequence[Record], *, csv: str
) -> tuple[Grid, str]:
    """Table 2: a line for each editor behind its edits, and one for the unedited model."""
    parts = layers(sorted(cells, key=_ability_order), lambda cell: cell.row, asked_alike)
    tables = [(part, tabulate_ability(table, part, records)) for part in parts]
    grid = Grid(
        key=f"table{table.number}",
        title=f"Table {table.number}: {table.title}",
        caption=on_page(by_task(tables[0][1]).caption),
        columns=(
            Column(name="Editor"), _EDITS, Column(name="Edit set"),
            *(Column(name=name, number=True) for name in ABILITY_COLUMNS),
            Column(name="Type"), Column(name="Backbone"), Column(name="Scoring"),
            Column(name="Protocol"),
        ),
        rows=tuple(row for part, data in tables for row in _ability_rows(table, part, data)),
        filters=ABILITY_FILTERS,
        csv=csv,
        short=SHORT,
    )  # fmt: skip
    return grid, under_one_head([ability_csv(data) for _, data in tables])


def _ability_rows(
    table: Table, cells: Sequence[AbilityCell], data: AbilityTable
) -> Iterator[GridRow]:
    text = by_task(data)
    for i, row in enumerate(data.rows):
        own = [cell for cell in cells if cell.row == row.key]
        keys = [cell.key() for cell in own]
        label = marked(row.label, None if row.key is None else row.key[2])
        facts = (own[0].backbone, own[0].scoring, own[0].protocol_id)
        edits, dataset = f"{row.n_edits:,}", row.dataset or EMPTY
        numbers = [
            _ability_value(table, row, column, keys, best=(i, j) in text.best)
            for j, column in enumerate(ABILITY_COLUMNS, start=text.lead)
        ]
        yield GridRow(
            values=(
                plain(label), plain(edits, row.n_edits), plain(dataset), *numbers,
                plain(row.family or EMPTY), *map(plain, facts),
            ),
            filters=dict(zip(ABILITY_FILTERS, (label, dataset, edits, *facts), strict=True)),
            starts=i in text.breaks,
        )  # fmt: skip


def _ability_value(
    table: Table, row: AbilityRowData, column: str, keys: Sequence[str], *, best: bool
) -> Value:
    return measured(
        row.values.get(column),
        _printed(row.published.get(column)),
        source=table.published_backbone,
        keys=keys,
        marks=REMARKED if row.remarks else "",
        best=best,
    )


def time_table(
    table: Table, cells: Sequence[TimingCell], records: Sequence[Record], *, csv: str
) -> tuple[Grid, str]:
    """Table 3: a line for each editor, in seconds."""
    rows = time_rows(table, chosen_times(cells), records)
    text = by_editor(table, rows)
    names = [name for name in TIME_COLUMNS if name != "Trained"]
    grid = Grid(
        key=f"table{table.number}",
        title=f"Table {table.number}: {table.title}",
        caption=on_page(text.caption),
        columns=(
            Column(name="Editor"), _EDITS,
            *(Column(name=n, number=True, group="seconds: median [quartiles]") for n in names),
            Column(name="Trained", number=True, about="numbers in the editor's own weights"),
            Column(name="Type"), Column(name="Data set"), Column(name="Backbone"),
            Column(name="Protocol"),
        ),
        rows=tuple(_time_row(table, text, i, row) for i, row in enumerate(rows)),
        filters=TIME_FILTERS,
        csv=csv,
        short="In seconds, but for overhead and trained numbers. Small: above (\u25b2) or below "
        "(\u25bc) the published value, which a number shows under the pointer, tap or focus.",
    )  # fmt: skip
    return grid, time_csv(table, rows)


def chosen_times(cells: Sequence[TimingCell]) -> list[TimingCell]:
    """In the order of the table; times of random weights only where there are no others."""
    trained = [cell for cell in cells if cell.weights == "trained"]
    return sorted(trained or cells, key=_time_order)


def _time_row(table: Table, text: TextTable, i: int, row: TimeRow) -> GridRow:
    label = text.rows[i][text.lead - 1]
    cell, edits = row.cell, f"{row.cell.n_edits:,}"
    facts = (get_dataset(cell.dataset).label, cell.backbone, cell.protocol_id)
    trained = plain(text.rows[i][-1], row.trained, href=cell_link([cell.key()]))
    numbers = [_time_value(table, row, name) for name in TIME_COLUMNS if name != "Trained"]
    return GridRow(
        values=(
            plain(label), plain(edits, cell.n_edits), *numbers, trained, plain(row.family),
            *map(plain, facts),
        ),
        filters=dict(zip(TIME_FILTERS, (label, edits, *facts), strict=True)),
        starts=i in text.breaks,
    )  # fmt: skip


def _time_value(table: Table, row: TimeRow, column: str) -> Value:
    """The median; quartiles stand behind it."""
    keys = [row.cell.key()]
    if column == "Overhead":
        text = EMPTY if row.overhead is None else f"{row.overhead:.2f}x"
        return plain(text, row.overhead, href=cell_link(keys) if row.overhead else "")
    found, theirs = row.seconds(column), row.published.get(column)
    value = measured(
        None if found is None else Spread(found[0], None, 1),
        _printed(theirs),
        source=table.published_backbone,
        decimals=4,
        keys=keys,
    )
    least = row.least(column)
    if found is None or least is None:
        return replace(value, spread=_quartiles(found))
    return replace(value, text=f"{least:.4f} - {value.text}")


def _quartiles(found: tuple[float, float, float] | None) -> str:
    """Nothing of a sum of medians, which has none."""
    if found is None or found[1] == found[2]:
        return ""
    return f" [{found[1]:.4f}, {found[2]:.4f}]"


def ablation_table(
    table: Table, cells: Sequence[Cell], records: Sequence[Record], *, csv: str
) -> tuple[Grid, str]:
    """Table 4: a line for each part of RECIPE that is left out."""
    data = tabulate_ablation(table, cells, records, SHOWN[MAIN])
    text = by_part(data)
    grid = Grid(
        key=f"table{table.number}",
        title=f"Table {table.number}: {table.title}",
        caption=on_page(text.caption),
        columns=(
            Column(name="Editor"), _EDITS,
            *(Column(name=name, number=True) for name in METRICS),
            Column(name="Cells", number=True, about="records behind each number"),
            Column(name="Backbone"), Column(name="Protocol"),
        ),
        rows=tuple(_ablation_row(data, text, cells, i) for i in range(len(data.rows))),
        filters=ABLATION_FILTERS,
        csv=csv,
        short=SHORT,
    )  # fmt: skip
    return grid, ablation_csv(data)


def _ablation_row(data: AblationTable, text: TextTable, cells: Sequence[Cell], i: int) -> GridRow:
    row = data.rows[i]
    own = _cells_of(row, cells)
    keys, edits = [cell.key() for cell in own], f"{row.n_edits:,}"
    numbers = [
        measured(
            row.values.get(column),
            _printed(row.published.get(column)),
            source=data.table.published_backbone,
            keys=keys,
            best=(i, j) in text.best,
        )
        for j, column in enumerate(METRICS, start=text.lead)
    ]
    protocol = ", ".join(dict.fromkeys(one.protocol_id for one in own))
    facts = (row.backbone, protocol or EMPTY)
    return GridRow(
        values=(
            plain(row.label), plain(edits, row.n_edits), *numbers,
            plain(str(len(own)), len(own), href=cell_link(keys)), *map(plain, facts),
        ),
        filters=dict(zip(ABLATION_FILTERS, (row.label, edits, *facts), strict=True)),
        starts=i in text.breaks,
    )  # fmt: skip


def _cells_of(row: AblationRow, cells: Sequence[Cell]) -> list[Cell]:
    """The cells whose mean a line is; the unedited model was asked by those of the whole."""
    wanted = "whole" if row.part == "unedited" else row.part
    own = [c for c in cells if (c.backbone, c.n_edits) == (row.backbone, row.n_edits)]
    return sorted(
        (cell for cell in own if _part(cell) == wanted),
        key=lambda cell: (row_order(cell.editor, cell.dataset), cell.seed),
    )


def _part(cell: Cell) -> str:
    found = ablation_of(cell.hparams)
    return "whole" if found is None else found.key


def _printed(theirs: Published | None) -> Spread | None:
    return None if theirs is None else Spread(theirs.value, theirs.std, 0)


def _ability_order(cell: AbilityCell) -> tuple[object, ...]:
    one = cell.edits
    if one is None:
        return (0,)
    return 1, one.n_edits, row_order(one.editor, one.dataset), one.seed


def asked_alike(cell: AbilityCell) -> tuple[object, ...]:
    """What the cells of one table have in common."""
    return cell.backbone, cell.dtype, cell.harness, cell.scoring, cell.wording, cell.task_limit


def _time_order(cell: TimingCell) -> tuple[object, ...]:
    if cell.editor is None:
        return (0,)
    return 1, cell.n_edits, row_order(cell.editor, cell.dataset), cell.seed
