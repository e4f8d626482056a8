"""Our records as numbers at the places of the published tables, for the paper's claims."""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.cells import Cell, Identity
from bench.core.grids import Table
from bench.core.published import UNEDITED, PublishedCell
from bench.datasets import get_dataset
from bench.evaluation.general_ability.cell import AbilityCell
from bench.evaluation.timing.cell import TimingCell
from bench.store.results import Record
from bench.tables.columns import MAIN, SHOWN

_TIMED = ("Edit", "Inference")  # columns of Table 3 that are measured


def values(
    table: Table, cells: Sequence[Identity], records: Sequence[Record]
) -> dict[PublishedCell, float]:
    """Means over seeds in the units of the published table, by place."""
    readers = {
        "editing": _editing,
        "general_ability": _ability,
        "times": _times,
        "ablation": _ablation,
    }
    return readers[table.measures](table, cells, records)


def _editing(
    table: Table, cells: Sequence[Identity], records: Sequence[Record]
) -> dict[PublishedCell, float]:
    from bench.tables.tabulate import tabulate

    data = tabulate(table, [cell for cell in cells if isinstance(cell, Cell)], records)
    labels = {(row.n_edits, row.editor): row.label for row in data.rows if row.variant is None}
    return {
        PublishedCell(
            table.number, n, labels[n, editor], get_dataset(dataset).label, column
        ): spread.mean
        for (n, editor, dataset), entry in data.entries.items()
        if (n, editor) in labels
        for column, spread in entry.values.items()
    }


def _ability(
    table: Table, cells: Sequence[Identity], records: Sequence[Record]
) -> dict[PublishedCell, float]:
    from bench.tables.general_ability.tabulate import PUBLISHED_NAMES, tabulate

    data = tabulate(table, [cell for cell in cells if isinstance(cell, AbilityCell)], records)
    return {
        PublishedCell(
            table.number, row.n_edits, UNEDITED if row.key is None else row.label, *names
        ): row.values[column].mean
        for row in data.rows
        for column, names in PUBLISHED_NAMES.items()
        if column in row.values
    }


def _times(
    table: Table, cells: Sequence[Identity], records: Sequence[Record]
) -> dict[PublishedCell, float]:
    """Times behind however many edits stand at the one number of edits that the paper has.

    An inference counts as its overhead times the unedited model's, so that editors which were
    timed minutes apart can be compared.
    """
    from bench.tables.times import COLUMNS, printed_edits, time_rows

    rows = time_rows(table, [cell for cell in cells if isinstance(cell, TimingCell)], records)
    plain = next((row.seconds("Inference") for row in rows if row.cell.editor is None), None)
    found = {}
    for row in rows:
        label = UNEDITED if row.cell.editor is None else row.label
        seconds = {column: one[0] for column in _TIMED if (one := row.seconds(column)) is not None}
        if plain is not None and row.overhead is not None:
            seconds["Inference"] = row.overhead * plain[0]
        if seconds.keys() == {*_TIMED}:
            seconds["Total"] = sum(seconds.values())
        for column, value in seconds.items():
            metric = COLUMNS[column] or ""
            found[PublishedCell(table.number, printed_edits(table), label, "", metric)] = value
    return found


def _ablation(
    table: Table, cells: Sequence[Identity], records: Sequence[Record]
) -> dict[PublishedCell, float]:
    from bench.tables.ablation.tabulate import MEAN, ROWS, tabulate

    editing = [cell for cell in cells if isinstance(cell, Cell)]
    data = tabulate(table, editing, records, SHOWN[MAIN])
    return {
        PublishedCell(table.number, row.n_edits, ROWS[row.part][1], MEAN, column): spread.mean
        for row in data.rows
        if not row.control
        for column, spread in row.values.items()
    }
