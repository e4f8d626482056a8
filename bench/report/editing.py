"""Tables 1, 5 and 6 of the report: a line for each editor, data set and number of edits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.core.cells import Cell
from bench.core.grids import Table, row_variant
from bench.core.names import row_order
from bench.core.numerics import Spread
from bench.datasets import get_dataset
from bench.report.grid import Column, Grid, GridRow, Value, cell_link, measured, on_page, plain
from bench.report.sources import layers, under_one_head
from bench.store.results import Record
from bench.tables.comparisons import FAVOURITE, ahead_of_the_best, comparisons
from bench.tables.labels import PRESET, settings_of
from bench.tables.later_editors import marked
from bench.tables.layout import REMARKED, SIGNIFICANT, by_dataset
from bench.tables.render import to_csv
from bench.tables.tabulate import METRICS, Row, TableData, tabulate

PROMPT_ONLY = "P-only"
SHORT = (
    "In percent, with the standard deviation over seeds. Small: points above (\u25b2) or below "
    "(\u25bc) the published value, which a number shows under the pointer, tap or focus."
)
FILTERS = ("Editor", "Data set", "Edits", "Backbone", "Settings", "Protocol")
_ABOUT = {
    "Rel": "reliability: the edited prompt",
    "Gen": "generality: other questions with the same answer",
    "Loc": "locality: unrelated questions, compared with the unedited model",
    "Avg": "mean of the three",
    PROMPT_ONLY: "Avg where retrieval sees the prompt alone",
}
COLUMNS = (
    Column(name="Editor"),
    Column(name="Edits", number=True, about="number of sequential edits"),
    Column(name="Data set"),
    *(Column(name=name, number=True, about=about) for name, about in _ABOUT.items()),
    Column(name="Seeds", number=True),
    Column(name="Type", about="MP modifies parameters, AP adds some, RB retrieves"),
    Column(name="Backbone"),
    Column(name="Settings", about="what differs from the editor's preset"),
    Column(name="Protocol", about="data set, protocol, version of the definitions"),
)


@dataclass(frozen=True)
class Layer:
    """Cells that one tabulation takes, with its outcome."""

    cells: tuple[Cell, ...]
    data: TableData

    @property
    def usual(self) -> bool:
        """Whether all editors have their presets, so that it can be said which is best."""
        return all(map(_usual, self.cells))

    def at(self, row: Row, dataset: str) -> list[Cell]:
        """The cells of one line, a seed each."""
        return [
            cell
            for cell in self.cells
            if (cell.n_edits, _row_key(cell), cell.dataset) == (row.n_edits, row.editor, dataset)
        ]


def tabulated(table: Table, cells: Sequence[Cell], records: Sequence[Record]) -> list[Layer]:
    """The table of these cells, in as many parts as there are kinds of measurement.

    Presets come first, by themselves.
    """
    ordered = sorted(
        cells,
        key=lambda c: (not _usual(c), c.n_edits, row_order(c.editor, c.dataset), c.seed),
    )
    parts = layers(ordered, lambda c: (c.n_edits, _row_key(c), c.dataset), _shared)
    return [Layer(tuple(part), tabulate(table, part, records)) for part in parts]


def editing_grid(
    table: Table, found: Sequence[Layer], *, key: str, title: str, csv: str = ""
) -> Grid:
    """The lines of all parts, under the caption of the first."""
    return Grid(
        key=key,
        title=title,
        caption=_caption(found),
        columns=COLUMNS,
        rows=tuple(row for layer in found for row in _rows(table, layer)),
        filters=FILTERS,
        csv=csv,
        short=SHORT,
    )


def editing_csv(found: Sequence[Layer]) -> str:
    """The CSV of all parts, as `tables` writes it, under one head."""
    return under_one_head([to_csv(layer.data) for layer in found])


def _caption(found: Sequence[Layer]) -> tuple[str, ...]:
    """What the terminal prints above the same table."""
    said = on_page(by_dataset(found[0].data).caption)
    return said if found[0].usual else tuple(line for line in said if not line.startswith("Bold"))


def _rows(table: Table, layer: Layer) -> Iterator[GridRow]:
    data = layer.data
    leads = ahead_of_the_best(comparisons(data.averages))
    best = _best(data) if layer.usual else frozenset()
    before = None
    for row in data.rows:
        for dataset in data.datasets:
            cells = layer.at(row, dataset)
            if cells:
                label = get_dataset(dataset).label
                lead = row.label == FAVOURITE and (row.n_edits, label) in leads
                numbers = _numbers(table, data, row, dataset, cells, lead=lead, best=best)
                yield _line(row, cells, [*numbers], starts=before not in (None, row.n_edits))
                before = row.n_edits


def _line(row: Row, cells: Sequence[Cell], numbers: Sequence[Value], *, starts: bool) -> GridRow:
    first = cells[0]
    label, editor = get_dataset(first.dataset).label, marked(row.label, row.editor)
    settings = settings_of(first)
    texts = (first.backbone, settings, first.protocol_id)
    return GridRow(
        values=(
            plain(editor),
            plain(f"{row.n_edits:,}", row.n_edits),
            plain(label),
            *numbers,
            plain(str(len(cells)), len(cells), href=cell_link([cell.key() for cell in cells])),
            plain(row.family),
            *map(plain, texts),
        ),
        filters=dict(zip(FILTERS, (editor, label, f"{row.n_edits:,}", *texts), strict=True)),
        starts=starts,
    )


def _numbers(
    table: Table,
    data: TableData,
    row: Row,
    dataset: str,
    cells: Sequence[Cell],
    *,
    lead: bool,
    best: frozenset[tuple[int, str, str, str]],
) -> Iterator[Value]:
    """Rel, Gen, Loc, Avg and what retrieval by the prompt alone gives."""
    entry = data.entries.get((row.n_edits, row.editor, dataset))
    label, keys = get_dataset(dataset).label, [cell.key() for cell in cells]
    remarked = REMARKED if entry and entry.remarks else ""
    for column in METRICS:
        theirs = data.published.get((row.n_edits, row.label, label, column))
        yield measured(
            entry.values.get(column) if entry else None,
            None if theirs is None else Spread(theirs.value, theirs.std, 0),
            source=table.published_backbone,
            keys=keys,
            marks=(SIGNIFICANT if lead and column == "Avg" else "") + remarked,
            best=(row.n_edits, row.editor, dataset, column) in best,
        )
    yield measured(entry.prompt_only if entry else None, keys=keys)


def _best(data: TableData) -> frozenset[tuple[int, str, str, str]]:
    """(n, editor, data set, column) of the numbers that the terminal prints bold."""
    text = by_dataset(data)
    places = [(key, name) for key in data.datasets for name in _ABOUT]
    return frozenset(
        (data.rows[i].n_edits, data.rows[i].editor, *places[j - text.lead]) for i, j in text.best
    )


def _row_key(cell: Cell) -> str:
    one = row_variant(cell.editor, cell.hparams)
    return cell.editor if one is None else f"{cell.editor}/{one.key}"


def _shared(cell: Cell) -> tuple[object, ...]:
    what = (cell.backbone, cell.dtype, cell.protocol, cell.metric_version, cell.generation)
    return *what, _usual(cell)


def _usual(cell: Cell) -> bool:
    return settings_of(cell) == PRESET
