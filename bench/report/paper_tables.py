"""The tables of the report: the numbers of `bench.tables`, linked to their cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from bench.core.cells import Cell, Identity
from bench.core.grids import TABLES, Table
from bench.core.names import row_order
from bench.core.numerics import Spread
from bench.core.published import PublishedCell
from bench.core.published import numbers as published_numbers
from bench.datasets import get_dataset
from bench.evaluation.record_kinds import AbilityCell, TimingCell
from bench.report.grid import Column, Grid, GridRow, Value, cell_link, measured, on_page, plain
from bench.report.sources import layers
from bench.store.results import Record
from bench.tables import view
from bench.tables.editing import LED, PROMPT_ONLY, EditingView, row_of
from bench.tables.metric_loss import (
    EQUAL,
    GENERATED,
    LEAK_OF_TOKENS,
    METRIC,
    TOKENS,
    Loss,
)
from bench.tables.metric_loss import PROMPT_ONLY as HONEST_LEVEL
from bench.tables.render import to_csv
from bench.tables.table import (
    EMPTY,
    METRICS,
    PRESET,
    Number,
    View,
    notes,
    settings_of,
)

_GAP = (
    "above (\u25b2) or below (\u25bc) the published value, which a number shows under the "
    "pointer, tap or focus."
)
SHORT = f"In percent, with the standard deviation over seeds. Small: points {_GAP}"


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
    "Protocol": lambda n: plain(
        ", ".join(dict.fromkeys(cell.protocol_id for cell in n.cells)) or EMPTY
    ),
}


def _lines(shown: View, columns: Sequence[Column], *, by_dataset: bool) -> Iterator[GridRow]:
    """A line for each row of a table, and each of its data sets."""
    groups = groupby(shown.numbers, key=lambda n: (n.row, n.dataset if by_dataset else ""))
    before = None
    for (row, _), group in groups:
        numbers = {n.column: n for n in group if n.column}
        first = next(iter(numbers.values()))
        link, source = _link(first), shown.table.published_backbone
        yield GridRow(
            values=tuple(
                _FACTS[column.name](first)
                if column.name in _FACTS
                else measured(numbers[column.name], source=source, link=link)
                for column in columns
            ),
            starts=before not in (None, row.block),
        )
        before = row.block


def _names(*names: str, group: str = "") -> Iterator[Column]:
    return (Column(name=name, number=True, group=group) for name in names)


_EDITOR = Column(name="Editor")
_EDITS = Column(name="Edits", number=True, about="number of sequential edits")
_TEXTS = {name: Column(name=name) for name in ("Type", "Data set", "Backbone", "Protocol")}
_ABOUT = {
    "Rel": "reliability: the edited prompt",
    "Gen": "generality: other questions with the same answer",
    "Loc": "locality: unrelated questions, compared with the unedited model",
    "Avg": "mean of the three",
    PROMPT_ONLY: "Avg where retrieval sees the prompt alone",
}
EDITING_COLUMNS = (
    _EDITOR,
    _EDITS,
    _TEXTS["Data set"],
    *(Column(name=name, number=True, about=about) for name, about in _ABOUT.items()),
    Column(name="Seeds", number=True),
    Column(name="Type", about="MP modifies parameters, AP adds some, RB retrieves"),
    _TEXTS["Backbone"],
    Column(name="Settings", about="what differs from the editor's preset"),
    Column(name="Protocol", about="data set, protocol, version of the definitions"),
)
EDITING_FILTERS = ("Editor", "Data set", "Edits", "Backbone", "Settings", "Protocol")


@dataclass(frozen=True, kw_only=True)
class TablePart:
    """One of the paper's tables, or a part of one."""

    grid: Grid
    csv: str
    views: Sequence[View]  # measured in one way each


def table_part(
    table: Table, cells: Sequence[Identity], records: Sequence[Record], *, csv: str
) -> TablePart:
    """A table of these cells; `csv` is the name of its file.

    Raises:
        ValueError: there are no cells, or ones that no table can be computed of.
    """
    if not cells:
        raise ValueError("no record.")
    if table.measures == "editing":
        title = f"Table {table.number}: {table.title}"
        return editing_part(table, cells, records, key=f"table{table.number}", title=title, csv=csv)
    views = [view(table, part, records) for part in _parts(table, cells)]
    columns, filters, short = _layout(table, views[0])
    rows = (row for own in views for row in _lines(own, columns, by_dataset=False))
    grid = Grid(
        key=f"table{table.number}",
        title=f"Table {table.number}: {table.title}",
        caption=on_page(views[0].caption),
        columns=columns,
        rows=tuple(rows),
        filters=filters,
        csv=csv,
        short=short,
    )
    return TablePart(grid=grid, csv=_under_one_head(views), views=views)


def _parts(table: Table, cells: Sequence[Any]) -> Sequence[Sequence[Any]]:
    """The cells in the order of the table, in parts that were asked alike."""
    if table.measures == "general_ability":
        return layers(sorted(cells, key=_ability_order), lambda cell: cell.row, asked_alike)
    return [chosen_times(cells) if table.measures == "times" else cells]


def _layout(table: Table, shown: View) -> tuple[tuple[Column, ...], tuple[str, ...], str]:
    """Columns, filters and the line above the table."""
    names = list(dict.fromkeys(n.column for n in shown.numbers if n.column))
    if table.measures == "general_ability":
        columns = (
            _EDITOR, _EDITS, Column(name="Edit set"), *_names(*names), _TEXTS["Type"],
            _TEXTS["Backbone"], Column(name="Scoring"), _TEXTS["Protocol"],
        )  # fmt: skip
        return columns, ("Editor", "Edit set", "Edits", "Backbone", "Scoring", "Protocol"), SHORT
    if table.measures == "ablation":
        count = Column(name="Cells", number=True, about="records averaged in each number")
        columns = (
            _EDITOR, _EDITS, *_names(*names), count, _TEXTS["Backbone"], _TEXTS["Protocol"],
        )  # fmt: skip
        return columns, ("Editor", "Edits", "Backbone", "Protocol"), SHORT
    trained = Column(name=names[-1], number=True, about="numbers in the editor's own weights")
    columns = (
        _EDITOR, _EDITS, *_names(*names[:-1], group=shown.numbers[0].group), trained,
        *(_TEXTS[name] for name in ("Type", "Data set", "Backbone", "Protocol")),
    )  # fmt: skip
    short = f"In seconds, but for overhead and trained numbers. Small: {_GAP}"
    return columns, ("Editor", "Edits", "Data set", "Backbone", "Protocol"), short


def _ability_order(cell: AbilityCell) -> tuple[object, ...]:
    edits = cell.edits
    if edits is None:
        return (0,)
    return 1, edits.n_edits, row_order(edits.editor, edits.dataset), edits.seed


def asked_alike(cell: AbilityCell) -> tuple[object, ...]:
    """What the cells of one table have in common."""
    return cell.backbone, cell.dtype, cell.harness, cell.scoring, cell.wording, cell.task_limit


def chosen_times(cells: Sequence[TimingCell]) -> list[TimingCell]:
    """In the order of the table; times of random weights only where there are no others."""
    trained = [cell for cell in cells if cell.weights == "trained"]
    return sorted(trained or cells, key=_time_order)


def _time_order(cell: TimingCell) -> tuple[object, ...]:
    if cell.editor is None:
        return (0,)
    return 1, cell.n_edits, row_order(cell.editor, cell.dataset), cell.seed


def editing_part(
    table: Table, cells: Sequence[Any], records: Sequence[Record], *, key: str, title: str, csv: str
) -> TablePart:
    """The table of these cells, in as many parts as there are kinds of measurement.

    Presets come first, by themselves; it is they alone whose best numbers are marked.
    """
    views = editing_views(table, cells, records)
    caption = on_page(views[0].caption)
    if not _usual(views[0]):
        caption = tuple(line for line in caption if not line.startswith("Bold"))
    rows: list[GridRow] = []
    for own in views:
        usual = _usual(own)
        numbers = [replace(n, best=n.best and usual) for n in own.numbers if n.cells]
        there = replace(own, numbers=tuple(numbers))
        rows += _lines(there, EDITING_COLUMNS, by_dataset=True)
    grid = Grid(
        key=key,
        title=title,
        caption=caption,
        columns=EDITING_COLUMNS,
        rows=tuple(rows),
        filters=EDITING_FILTERS,
        csv=csv,
        short=SHORT,
    )
    return TablePart(grid=grid, csv=_under_one_head(views), views=views)


def editing_views(
    table: Table, cells: Sequence[Cell], records: Sequence[Record]
) -> list[EditingView]:
    """A view for each kind of measurement."""
    ordered = sorted(
        cells,
        key=lambda c: (
            settings_of(c) != PRESET, c.n_edits, row_order(c.editor, c.dataset), c.seed,
        ),
    )  # fmt: skip
    parts = layers(ordered, lambda c: (row_of(c), c.dataset), _shared)
    views = [view(table, part, records) for part in parts]
    return [own for own in views if isinstance(own, EditingView)]


def _shared(cell: Cell) -> tuple[object, ...]:
    what = (cell.backbone, cell.dtype, cell.protocol, cell.metric_version, cell.generation)
    return *what, settings_of(cell) == PRESET


def _usual(shown: View) -> bool:
    """Whether all editors have their presets, so that it can be said which is best."""
    cells = (cell for n in shown.numbers for cell in n.cells if isinstance(cell, Cell))
    return all(settings_of(cell) == PRESET for cell in cells)


def _under_one_head(views: Iterable[View]) -> str:
    """The CSV texts of all parts, as `tables` writes them, as one."""
    lines = [to_csv(own).splitlines(keepends=True) for own in views]
    return "".join([*lines[0][:1], *(line for own in lines for line in own[1:])])


def headline(views: Sequence[View]) -> Grid | None:
    """Avg alone: a line for each editor, a column for each data set and number of edits.

    Of the first part on a backbone of a table, else of the first one.
    """
    named = {name for table in TABLES.values() for name in table.backbones.values()}
    known = (own for own in views if own.rows[0].backbone in named)
    shown = next(known, views[0] if views else None)
    if not isinstance(shown, EditingView):
        return None
    table, rows = shown.table, {row.editor: row for row in shown.rows if not row.variant}
    at = {(n.row.editor, n.dataset, n.row.n_edits): n for n in shown.numbers if n.metric == LED}
    counts = sorted({row.n_edits for row in shown.rows})
    places = [(dataset, n) for dataset in dict.fromkeys(d for _, d, _ in at) for n in counts]
    printed = published_numbers(table.number)

    def value(editor: str | None, dataset: str, n_edits: int) -> Value:
        place = PublishedCell(table.number, n_edits, rows[editor].label, dataset, LED)
        empty = Number(row=rows[editor], place=place, published=printed.get(place))
        number = replace(
            at.get((editor, dataset, n_edits), empty),
            spread="",
            remarks=(),
            significant=False,
            best=False,
        )
        return measured(number, source=table.published_backbone, link=_link(number))

    return Grid(
        key="headline",
        title=f"Average of reliability, generality and locality, {shown.rows[0].backbone}",
        short=f"Avg in percent after n sequential edits. Small: points {_GAP}",
        caption=(
            f"Table {table.number} has the spreads and the rest. {shown.about.seeds}",
            *notes([Number(row=row) for row in rows.values()]),
        ),
        columns=(_EDITOR, *(c for dataset, n in places for c in _names(f"{n:,}", group=dataset))),
        rows=tuple(
            GridRow(values=(plain(row.name), *(value(row.editor, *place) for place in places)))
            for row in rows.values()
        ),
    )


LOSS_FILTERS = ("Backbone", "Metric", "Editor", "Data set", "Edits", "Settings")
LOSS_COLUMNS = (
    _EDITOR,
    _EDITS,
    _TEXTS["Data set"],
    Column(name="Metric"),
    Column(name="Tokens", number=True, about="teacher-forced token accuracy: the printed number"),
    Column(name="lost: exact", number=True, about="where all tokens of a target must be hit"),
    Column(name="lost: leak", number=True, about="where retrieval sees the prompt alone"),
    Column(name="lost: stop", number=True, about="where an answer is decoded to its natural end"),
    Column(name="Decoded", number=True, about="exact match of decoded answers: what is left"),
    Column(name="lost: total", number=True, about="from tokens to decoded"),
    Column(
        name="lost: leak of tokens",
        number=True,
        about="token accuracy that is lost where retrieval sees the prompt alone",
    ),
    _TEXTS["Type"],
    _TEXTS["Backbone"],
    Column(name="Settings"),
)


_SAME = (
    f"{EQUAL}: the editor looks no text up, so that nothing can leak and the two numbers are one "
    "measurement."
)


def loss_grid(losses: Sequence[Loss], *, csv: str) -> Grid:
    """The metric-loss table: a line for each metric, editor, data set and n; pages filter them."""
    order = {name: i for i, name in enumerate(METRICS)}
    ordered = sorted(
        losses,
        key=lambda loss: (
            loss.row.n_edits, row_order(loss.editor, loss.dataset), order[loss.metric],
        ),
    )  # fmt: skip
    there = {loss.row.backbone for loss in ordered}
    named = (name for table in TABLES.values() for name in table.backbones.values())
    usual = any(loss.settings == PRESET for loss in ordered)
    return Grid(
        key="metric-loss",
        title="What the metric hides",
        caption=(
            _SAME,
            *notes([Number(row=loss.row) for loss in ordered]),
        ),
        columns=LOSS_COLUMNS,
        rows=tuple(map(_loss_row, ordered)),
        filters=LOSS_FILTERS,
        csv=csv,
        short="In percent, and in points lost; above zero where something is lost",
        defaults={
            "Metric": METRIC,
            "Backbone": next((name for name in named if name in there), ""),
            "Settings": PRESET if usual else "",
        },
    )


def _loss_row(loss: Loss) -> GridRow:
    row, link = loss.row, cell_link(loss.keys)

    def level(name: str) -> Value:
        return measured(Number(row=row, ours=loss.levels.get(name)), link=link)

    def lost(step: str) -> Value:
        points = loss.lost.get(step)
        if points is not None:  # without a minus in front of zero
            points = Spread(round(points.mean, 6) + 0.0, points.std, points.n)
        return measured(Number(row=row, ours=points), link=link)

    def leak(step: str) -> Value:
        equal = not loss.retrieves and HONEST_LEVEL in loss.levels
        return Value(text=EQUAL, sort=0.0) if equal else lost(step)

    return GridRow(
        values=(
            plain(row.name), plain(f"{row.n_edits:,}", row.n_edits),
            plain(get_dataset(loss.dataset).label), plain(loss.metric),
            level(TOKENS), lost("exact"), leak("leak"), lost("stop"), level(GENERATED),
            lost("total"), leak(LEAK_OF_TOKENS),
            plain(row.family), plain(row.backbone), plain(loss.settings),
        )
    )  # fmt: skip
