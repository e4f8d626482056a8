"""The tables of the report: the numbers of `bench.tables`, linked to their cells."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from bench.core.cells import Cell, CellKey, Identity
from bench.core.grids import Table
from bench.core.names import row_order
from bench.core.published import PublishedCell
from bench.core.published import numbers as published_numbers
from bench.datasets import get_dataset
from bench.evaluation.record_kinds import AbilityCell, TimingCell
from bench.report.pages import Column, Grid, GridRow, Value, cell_link, measured, plain
from bench.report.sources import NAMED, layers
from bench.store.results import Record
from bench.tables import metric_loss, view
from bench.tables.editing import LED, EditingView, row_of
from bench.tables.metric_loss import Loss
from bench.tables.render import to_csv
from bench.tables.table import EMPTY, METRICS, PRESET, Number, Row, View, notes, settings_of

_GAP = (
    "above (\u25b2) or below (\u25bc) the published value, which a number shows under the "
    "pointer, tap or focus."
)


def _link(number: Number) -> str:
    return cell_link([cell.key() for cell in number.cells])


def _first(number: Number) -> Any:
    """Any cell of the number; those of one line differ in their seed or data set alone."""
    return number.cells[0]


def _count(number: Number) -> Value:
    return plain(str(len(number.cells)), len(number.cells), href=_link(number))


# Columns that say what the numbers of a line are of.
_FACTS: Mapping[str, Callable[[Number], Value]] = {
    "Editor": lambda n: plain(n.row.name),
    "Edits": lambda n: plain(f"{n.row.n_edits:,}", n.row.n_edits),
    "Data set": lambda n: plain(get_dataset(_first(n).dataset).label),
    "Edit set": lambda n: plain(n.row.edit_set or EMPTY),
    "Seeds": _count,
    "Cells": _count,
    "Type": lambda n: plain(n.row.family or EMPTY),
    "Backbone": lambda n: plain(n.row.backbone),
    "Settings": lambda n: plain(settings_of(_first(n))),
    "Scoring": lambda n: plain(_first(n).scoring),
    "Protocol": lambda n: plain(", ".join(dict.fromkeys(c.protocol_id for c in n.cells)) or EMPTY),
}


LAYOUTS = tomllib.loads(Path(__file__).with_name("layouts.toml").read_text(encoding="utf-8"))


def table_part(
    table: Table, cells: Sequence[Identity], records: Sequence[Record], key: str, title: str = ""
) -> tuple[Grid, str, Sequence[View]]:
    """A table of cells of one kind, its CSV, and its views: one for each way of measurement.

    The cells belong to `table` or stand beside it; `key` names it in its page, and its CSV.

    Raises:
        ValueError: there are no cells, or ones that no table can be computed of.
    """
    if not cells:
        raise ValueError("no record.")
    layout = LAYOUTS[table.measures]
    views = [view(table, part, records) for part in _parts(table, cells)]
    columns = _columns(layout, views[0])
    best_first = table.measures != "editing" or _usual(views[0])
    # On a page the published value does not stand in parentheses.
    replaced = "In parentheses the published value", "The published value is"
    lines = (line.replace(*replaced) for line in views[0].caption)
    grid = Grid(
        key=key, title=title or f"Table {table.number}: {table.title}", columns=columns,
        caption=tuple(line for line in lines if best_first or not line.startswith("Bold")),
        rows=tuple(row for own in views for row in _lines(own, columns)),
        filters=layout["filters"], csv=f"csv/{key}.csv", short=f"{layout['short']} {_GAP}",
    )  # fmt: skip
    texts = [to_csv(own).splitlines(keepends=True) for own in views]
    csv = "".join([*texts[0][:1], *(line for text in texts for line in text[1:])])
    return grid, csv, views


def _columns(layout: Mapping[str, Any], shown: View) -> tuple[Column, ...]:
    """All columns of a table, those of its numbers in the middle."""
    groups = {n.column: n.group for n in shown.numbers if n.column}
    counts, about = ("Edits", "Seeds", "Cells", *groups), layout["about"]
    headed = {**groups, "Trained": ""} if shown.table.measures == "times" else {}
    return tuple(
        Column(name, number=name in counts, about=about.get(name, ""), group=headed.get(name, ""))
        for name in (*layout["before"], *groups, *layout["after"])
    )


def _parts(table: Table, cells: Sequence[Any]) -> Sequence[Sequence[Any]]:
    """The cells in the order of the table, in parts that were measured alike; presets come first.

    It is presets alone whose best numbers are marked.
    """
    if table.measures == "general_ability":
        return layers(sorted(cells, key=_order), lambda cell: cell.row, asked_alike)
    if table.measures == "times":
        return [chosen_times(cells)]
    if table.measures == "ablation":
        return [cells]
    ordered = sorted(cells, key=lambda c: (settings_of(c) != PRESET, _order(c)))
    return layers(ordered, lambda c: (row_of(c), c.dataset), _measured_alike)


def _order(cell: Identity) -> tuple[object, ...]:
    return CellKey.of(cell.to_dict()).order


def chosen_times(cells: Sequence[TimingCell]) -> list[TimingCell]:
    """In the order of the table; times of random weights only where there are no others."""
    trained = [cell for cell in cells if cell.weights == "trained"]
    return sorted(trained or cells, key=_order)


def asked_alike(cell: AbilityCell) -> tuple[object, ...]:
    """What the cells of one table of general ability have in common."""
    return cell.backbone, cell.dtype, cell.harness, cell.scoring, cell.wording, cell.task_limit


def _measured_alike(cell: Cell) -> tuple[object, ...]:
    what = (cell.backbone, cell.dtype, cell.protocol, cell.metric_version, cell.generation)
    return *what, settings_of(cell) == PRESET


def _usual(shown: View) -> bool:
    """Whether all editors have their presets, so that it can be said which is best."""
    cells = (cell for n in shown.numbers for cell in n.cells if isinstance(cell, Cell))
    return all(settings_of(cell) == PRESET for cell in cells)


def _lines(shown: View, columns: Sequence[Column]) -> Iterator[GridRow]:
    """A line for each row of a table; of editing, for each of its data sets that has cells."""
    editing, source = shown.table.measures == "editing", shown.table.published_backbone
    best = not editing or _usual(shown)
    before = None
    groups = groupby(shown.numbers, key=lambda n: (n.row, n.dataset if editing else ""))
    for (row, _), group in groups:
        numbers = {n.column: replace(n, best=n.best and best) for n in group if n.column}
        first = next(iter(numbers.values()))
        if editing and not first.cells:
            continue
        link = _link(first)
        values = tuple(
            _FACTS[column.name](first)
            if column.name in _FACTS
            else measured(numbers[column.name], source=source, link=link)
            for column in columns
        )
        yield GridRow(values, starts=before not in (None, row.block))
        before = row.block


def headline(views: Sequence[View]) -> Grid | None:
    """Avg alone: a line for each editor, a column for each data set and number of edits.

    Of the first view on a backbone of a table, else of the first one.
    """
    known = (own for own in views if own.rows[0].backbone in NAMED)
    shown = next(known, views[0] if views else None)
    if not isinstance(shown, EditingView):
        return None
    table, rows = shown.table, {row.editor: row for row in shown.rows if not row.variant}
    at = {(n.row.editor, n.dataset, n.row.n_edits): n for n in shown.numbers if n.metric == LED}
    counts = sorted({row.n_edits for row in shown.rows})
    places = [(dataset, n) for dataset in dict.fromkeys(d for _, d, _ in at) for n in counts]
    printed = published_numbers(table.number)

    def value(row: Row, dataset: str, n_edits: int) -> Value:
        place = PublishedCell(table.number, n_edits, row.label, dataset, LED)
        own = at.get((row.editor, dataset, n_edits), Number(row=row))
        bare = Number(row=row, ours=own.ours, spread="", published=printed.get(place))
        return measured(bare, source=table.published_backbone, link=_link(own))

    return Grid(
        key="headline",
        title=f"Average of reliability, generality and locality, {shown.rows[0].backbone}",
        short=f"Avg in percent after n sequential edits. Small: points {_GAP}",
        caption=(
            f"Table {table.number} has the spreads and the rest. {shown.about.seeds}",
            *notes([Number(row=row) for row in rows.values()]),
        ),
        columns=(
            Column("Editor"),
            *(Column(f"{n:,}", number=True, group=dataset) for dataset, n in places),
        ),
        rows=tuple(
            GridRow((plain(row.name), *(value(row, *place) for place in places)))
            for row in rows.values()
        ),
    )


_SAME = (
    f"{metric_loss.EQUAL}: the editor looks no text up, so that nothing can leak and the two "
    "numbers are one measurement."
)


def loss_grid(losses: Sequence[Loss], *, csv: str) -> Grid:
    """The metric-loss table: a line for each metric, editor, data set and n; pages filter them."""
    order = list(METRICS)
    ordered = sorted(
        losses,
        key=lambda loss: (
            loss.row.n_edits, row_order(loss.editor, loss.dataset), order.index(loss.metric),
        ),
    )  # fmt: skip
    there = {loss.row.backbone for loss in ordered}
    usual = any(loss.settings == PRESET for loss in ordered)
    return Grid(
        key="metric-loss",
        title="What the metric hides",
        caption=(_SAME, *notes([Number(row=loss.row) for loss in ordered])),
        columns=(
            Column("Editor"), Column("Edits", number=True, about="number of sequential edits"),
            Column("Data set"), Column("Metric"),
            *(Column(name, number=True, about=about) for name, about in LAYOUTS["losses"].values()),
            Column("Type"), Column("Backbone"), Column("Settings"),
        ),
        rows=tuple(map(_loss_row, ordered)),
        filters=("Backbone", "Metric", "Editor", "Data set", "Edits", "Settings"),
        csv=csv,
        short="In percent, and in points lost; above zero where something is lost",
        defaults={
            "Metric": metric_loss.METRIC,
            "Backbone": next((name for name in NAMED if name in there), ""),
            "Settings": PRESET if usual else "",
        },
    )  # fmt: skip


def _loss_row(loss: Loss) -> GridRow:
    row, numbers = loss.row, []
    for name in LAYOUTS["losses"]:
        ours = loss.numbers.get(name)
        if name in metric_loss.LEAKS and not loss.retrieves and "prompt_only" in loss.numbers:
            numbers.append(Value(text=metric_loss.EQUAL, sort=0.0))
            continue
        if name in metric_loss.STEPS and ours is not None:  # no minus in front of zero
            ours = replace(ours, mean=round(ours.mean, 6) + 0.0)
        numbers.append(measured(Number(row=row, ours=ours), link=cell_link(loss.keys)))
    lead = plain(row.name), plain(f"{row.n_edits:,}", row.n_edits)
    data = get_dataset(loss.dataset).label
    tail = map(plain, (row.family, row.backbone, loss.settings))
    return GridRow((*lead, plain(data), plain(loss.metric), *numbers, *tail))
