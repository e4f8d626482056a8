"""The first page: what was measured, on what, and the table that sums it up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bench.core.grids import TABLES
from bench.core.names import editor_keys
from bench.core.numerics import Spread
from bench.datasets import dataset_keys, get_dataset
from bench.report.cells import stream_of
from bench.report.editing import Layer
from bench.report.grid import Column, Grid, GridRow, Value, measured, plain
from bench.report.sources import Records
from bench.store.results import Record
from bench.tables.later_editors import marked, notes
from bench.tables.layout import EMPTY
from bench.tables.tabulate import Row
from editors import registry

METRIC = "Avg"
EMBEDDED = (
    "These are embedded miniatures: models of 1 to 3 million parameters in an invented world. "
    "They test the code and the protocol, not the paper's claims. The published values beside "
    "them are of real models of 1.5 to 7 billion parameters on real data: compare shapes, never "
    "values."
)
REAL = (
    "The published values stand beside ours where the paper has the same editor, data set and "
    "number of edits; other samples, texts and versions are enough for them to differ."
)


def about(found: Records) -> list[str]:
    """Three lines: what, on what, when."""
    records = list(found.all.values())
    streams = [stream for record in records if (stream := stream_of(record)).get("editor")]
    labels = [registry.describe(key).label for key in editor_keys({s["editor"] for s in streams})]
    datasets = [get_dataset(key).label for key in dataset_keys({s["dataset"] for s in streams})]
    edits = sorted({stream["n_edits"] for stream in streams if stream["n_edits"]})
    seeds = {stream["seed"] for stream in streams}
    what = (
        f"{_counted(len(labels), 'editor')} ({', '.join(labels)}) write {_listed(edits)} facts of "
        f"{_names(datasets)} into a language model, one after another; then all are asked for."
    )
    where = (
        f"Measured on {_names(_backbones(records))}, data: {_names(_worlds(records))}; "
        f"{_counted(len(records), 'cell')}, {_counted(len(seeds), 'seed')}."
    )
    return [what, where, _when(records)]


def notice(found: Records) -> str:
    """What must be known before a number is compared with the paper's."""
    worlds = _worlds(found.all.values())
    return EMBEDDED if any(world.startswith("embedded") for world in worlds) else REAL


def headline(layer: Layer) -> Grid:
    """Avg alone: a line for each editor, a column for each data set and number of edits."""
    data = layer.data
    table = data.table
    counts = sorted({row.n_edits for row in data.rows})
    editors = {row.editor: row for row in data.rows if row.variant is None}
    places = [(key, n) for key in data.datasets for n in counts]
    return Grid(
        key="headline",
        title=f"Average of reliability, generality and locality, {data.backbone}",
        short="Avg in percent after n sequential edits. Small: points above (\u25b2) or below "
        "(\u25bc) the published value, which a number shows under the pointer, tap or focus.",
        caption=(
            f"Table {table.number} has the spreads and the rest. {data.caption.seeds}",
            *notes(editors),
        ),
        columns=(
            Column(name="Editor"),
            *(
                Column(name=f"{n:,}", number=True, group=get_dataset(key).label)
                for key, n in places
            ),
        ),
        rows=tuple(
            GridRow(
                values=(
                    plain(marked(row.label, row.editor)),
                    *(_value(layer, row, key, n) for key, n in places),
                )
            )
            for row in editors.values()
        ),
    )


def headline_layer(layers: Sequence[Layer]) -> Layer | None:
    """The first part on a backbone of a table, else the first one."""
    named = {name for table in TABLES.values() for name in table.backbones.values()}
    known = (one for one in layers if one.data.backbone in named)
    return next(known, layers[0] if layers else None)


def _value(layer: Layer, row: Row, dataset: str, n_edits: int) -> Value:
    data, label = layer.data, get_dataset(dataset).label
    entry = data.entries.get((n_edits, row.editor, dataset))
    theirs = data.published.get((n_edits, row.label, label, METRIC))
    own = [
        cell.key()
        for cell in layer.cells
        if (cell.n_edits, cell.editor, cell.dataset) == (n_edits, row.editor, dataset)
    ]
    ours = entry.values.get(METRIC) if entry else None
    return measured(
        None if ours is None else Spread(ours.mean, None, ours.n),
        None if theirs is None else Spread(theirs.value, theirs.std, 0),
        source=data.table.published_backbone,
        keys=own,
    )


def _backbones(records: Sequence[Record]) -> list[str]:
    order = [name for table in TABLES.values() for name in table.backbones.values()]
    there = {str(record["cell"]["backbone"]) for record in records}
    return sorted(there, key=lambda b: (order.index(b) if b in order else len(order), b))


def _worlds(records: Any) -> list[str]:
    streams = (stream_of(record) for record in records)
    return sorted({str(one["dataset_revision"]) for one in streams if one.get("dataset")})


def _when(records: Sequence[Record]) -> str:
    made = [record["provenance"] for record in records]
    days = sorted({str(one.get("started", ""))[:10] for one in made} - {""})
    commits = list(dict.fromkeys(_commits(made)))
    machines = list(dict.fromkeys(_machine(one) for one in made))
    first, last = (days[0], days[-1]) if days else (EMPTY, EMPTY)
    when = first if first == last else f"{first} to {last}"
    return f"Run {when} on {_names(machines)}, with {_counted(len(commits), 'commit')} of the code."


def _commits(made: Sequence[Any]) -> Iterator[str]:
    yield from (str(one["git"]["commit"]) for one in made if one.get("git"))


def _machine(made: Any) -> str:
    parts = made.get("hardware", {})
    return str(parts.get("accelerator") or parts.get("processor") or "a machine without a name")


def _listed(counts: Sequence[int]) -> str:
    return _names([f"{n:,}" for n in counts])


def _names(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")
