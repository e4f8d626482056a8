"""The cells of a selection that have records: in a results directory, or in the reference."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import datasets
from bench.core.cells import Cell, CellKey, Identity, canonical, of_protocol, stream_of, way_of
from bench.core.config import RunConfig
from bench.core.console import warn
from bench.core.grids import GridPoint, Table, get_table
from bench.core.names import editor_keys, in_paper
from bench.datasets import EDITOR_SOURCE, remember
from bench.evaluation.record_kinds import TimingCell, identity_of
from bench.runner.kinds import KINDS
from bench.runner.planning import Planner, check_hparams, check_taken, points
from bench.store.inventory import split_stale, warn_of_stale
from bench.store.reference import table_records
from bench.store.results import Record, ResultStore, is_complete
from editors import registry

# Fields of identities of any kind that define the protocol.
_PROTOCOL_FIELDS = {
    "protocol", "scoring_time", "batch_per_step", "varies", "generation", "metric_version",
    "harness", "scoring", "wording", "protocol_version", "weights", "timing_version",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Stored:
    """The cells of a selection, in the order of the table, and the records there are."""

    table: Table
    cells: Sequence[Identity]
    records: Sequence[Record]


def stored(
    config: RunConfig,
    *,
    reference: bool = False,
    protocol: str | None = None,
    views: Sequence[str] = (),
) -> Stored:
    """What is stored of a selection, or of the committed `reference`; without seeds, of all seeds.

    With a `protocol` only its records are taken; `views` are options of `tables` that were given.
    A ValueError is raised for no record at all, or a selection that the table does not take.
    """
    table = get_table(config.table)
    check_taken(table, config, views)
    cells, records = (_committed if reference else _stored)(table, config, protocol)
    return Stored(table=table, cells=cells, records=records)


def _stored(
    table: Table, config: RunConfig, protocol: str | None
) -> tuple[Sequence[Identity], list[Record]]:
    """The cells of this selection, planned again, and all complete records of their kind."""
    store, kind = ResultStore(config.records), KINDS[table.measures].identity.kind
    owned = [r for r in store.records() if is_complete(r) and r["cell"].get("kind") == kind]
    remember(owned)
    # Records of other definitions are stale, unless these are what is wanted.
    records, stale = split_stale(owned) if protocol is None else (owned, [])
    cells = _cells(table, config, records)
    if config.measure:  # before a protocol is looked for, which does not know of further sets
        cells = [*stored_with_sets([cell for cell in cells if isinstance(cell, Cell)], records)]
    if protocol is not None:
        return stored_by_protocol(cells, records, protocol), records
    names = {CellKey.of(cell.to_dict()) for cell in cells}
    warn_of_stale([record for record in stale if CellKey.of(record["cell"]) in names])
    if others := other_protocols(cells, records):
        warn(f"warning: {others}")
    if not {cell.key() for cell in cells} & {record["key"] for record in records}:
        raise ValueError(
            f"No record in {store.directory} belongs to this selection of table {table.number}; "
            "python -m bench run with the same arguments computes them."
        )
    return cells, records


def _cells(table: Table, config: RunConfig, records: Sequence[Record]) -> list[Identity]:
    """The cells of a plan, and those that records alone can give."""
    named, keys = config.editors is not None, [CellKey.of(record["cell"]) for record in records]
    seeds = sorted({key.seed for key in keys if key.seed is not None})
    config = replace(config, seeds=config.seeds or tuple(seeds) or None)
    streams = [stream_of(record["cell"]) for record in records]
    own = {stream["editor"] for stream in streams if EDITOR_SOURCE in stream.get("inputs", {})}
    if own and not named and table.editors is None:
        config = replace(config, editors=(*editor_keys(recent=config.recent), *sorted(own)))
    here: list[GridPoint] = []
    gone: list[GridPoint] = []  # whose editor's or data set's code is not loaded
    for point in points(config):
        present = registry.is_present(point.editor) and datasets.is_present(point.dataset)
        (here if present else gone).append(point)
    check_hparams(config, here)
    planned = [job.cell for job in Planner(config).plan(here, named=named).jobs] if here else []
    return with_recorded(planned, gone, records, config)


# ---- the committed reference -----------------------------------------------------------------


def _committed(
    table: Table, config: RunConfig, protocol: str | None
) -> tuple[Sequence[Identity], list[Record]]:
    """The selected cells of the committed reference, and their records."""
    records = table_records(table.number, scoring=config.other_scoring, preset=config.preset)
    cells = chosen(table, [identity_of(record["cell"]) for record in records], config)
    if cells and protocol is not None:
        cells = list(of_protocol(cells, protocol))
    if not cells:
        raise ValueError(f"The reference of table {table.number} has no cell of this selection.")
    lacking = missing_cells(cell for cell in cells if isinstance(cell, Cell))
    preset = "" if config.preset == "embedded" else f"--preset {config.preset} --data-dir DIR "
    for n_edits in sorted({cell.n_edits for cell in lacking}):
        those = [cell for cell in lacking if cell.n_edits == n_edits]
        warn(
            f"not run at {n_edits:,} edits: python -m bench run --table {table.number} {preset}"
            f"--editors {','.join(dict.fromkeys(cell.editor for cell in those))} "
            f"--datasets {','.join(dict.fromkeys(cell.dataset for cell in those))} "
            f"--edits {n_edits}"
        )
    return chosen(table, [*cells, *lacking], config), records


def chosen(table: Table, cells: Iterable[Identity], config: RunConfig) -> list[Identity]:
    """Those of some cells that a selection names, in the order of the table.

    The unedited model is always among them; times of random weights are not.
    """
    kind = KINDS[table.measures].identity
    selected: list[tuple[tuple[object, ...], Identity]] = []
    for cell in cells:
        key = CellKey.of(cell.to_dict())
        if not isinstance(cell, kind) or not _is_selected(key, config):
            continue
        if isinstance(cell, TimingCell) and cell.weights != "trained":
            continue
        if not isinstance(cell, Cell) or _has_sets(cell.measures, config.measure):
            selected.append((key.order, cell))
    return [cell for _, cell in sorted(selected, key=lambda pair: pair[0])]


def _is_selected(key: CellKey, config: RunConfig) -> bool:
    if key.editor is None or key.dataset is None:
        return True
    if config.editors is None:
        editor = config.recent or in_paper(key.editor)
    else:
        editor = key.editor in editor_keys(config.editors)
    return (
        editor
        and (config.datasets is None or key.dataset in datasets.dataset_keys(config.datasets))
        and (config.edits is None or key.n_edits in config.edits)
        and (config.seeds is None or key.seed in config.seeds)
    )


def missing_cells(cells: Iterable[Cell]) -> list[Cell]:
    """One cell for each editor of a data set that has no record where another editor has one.

    The slowest editors are not run at every number of edits; tables show a dash there.
    """
    seen: dict[tuple[str, str, int], Cell] = {}
    for cell in cells:
        seen.setdefault((cell.editor, cell.dataset, cell.n_edits), cell)
    limits = {(dataset, n_edits): cell.limit for (_, dataset, n_edits), cell in seen.items()}
    models = {(editor, dataset): cell for (editor, dataset, _), cell in seen.items()}
    return [
        replace(cell, n_edits=n_edits, limit=limit)
        for (editor, dataset), cell in models.items()
        for (there, n_edits), limit in limits.items()
        if there == dataset and (editor, dataset, n_edits) not in seen
    ]


# ---- planned cells as they were stored -------------------------------------------------------


def stored_by_protocol(
    cells: Sequence[Identity], records: Iterable[Record], wanted: str
) -> Sequence[Identity]:
    """The planned cells as they were stored by the wanted protocol, in the order of the plan."""
    there = of_protocol(_of_cells(cells, records, _PROTOCOL_FIELDS), wanted)
    planned = {cell.key() for cell in cells}
    there.sort(key=lambda cell: cell.key() not in planned)  # what was planned goes first
    by_rest = {_but(cell, _PROTOCOL_FIELDS): cell for cell in reversed(there)}
    return [by_rest[rest] for c in cells if (rest := _but(c, _PROTOCOL_FIELDS)) in by_rest]


def other_protocols(cells: Sequence[Identity], records: Iterable[Record]) -> str:
    """One sentence about records of these cells that follow other protocols; empty without any."""
    ways = {way_of(cell.protocol_id) for cell in cells}
    there = _of_cells(cells, records, _PROTOCOL_FIELDS)
    others = [cell for cell in there if way_of(cell.protocol_id) not in ways]
    if not others:
        return ""
    ids = sorted({cell.protocol_id for cell in others})
    single = len(others) == 1
    count = "1 record of" if single else f"{len(others):,} records of"
    return (
        f"{count} these cells {'follows' if single else 'follow'} another protocol "
        f"({', '.join(ids)}), which shares no column with {', '.join(sorted(ways))}; "
        f"--protocol {way_of(ids[0])} shows that one instead."
    )


def stored_with_sets(cells: Sequence[Cell], records: Iterable[Record]) -> Sequence[Cell]:
    """The planned cells as they were stored with at least their optional metric sets.

    A cell that was not stays as it is. Where several were, that with the fewest sets is taken.
    """
    by_rest: dict[str, list[Cell]] = {}
    for there in _of_cells(cells, records, {"measures"}):
        if isinstance(there, Cell) and there.measures:
            by_rest.setdefault(_but(there, {"measures"}), []).append(there)

    def as_stored(cell: Cell) -> Cell:
        there = by_rest.get(_but(cell, {"measures"}), [])
        fitting = [other for other in there if cell.measures.items() <= other.measures.items()]
        return min(fitting, key=lambda other: (len(other.measures), other.key()), default=cell)

    return [as_stored(cell) for cell in cells]


def _of_cells(
    cells: Sequence[Identity], records: Iterable[Record], ignored: Collection[str]
) -> list[Identity]:
    """What records hold of the planned cells, whatever some fields are."""
    planned = {_but(cell, ignored) for cell in cells}
    identities = (identity_of(record["cell"]) for record in records)
    return [identity for identity in identities if _but(identity, ignored) in planned]


def _but(cell: Identity, ignored: Collection[str]) -> str:
    """All of an identity but some fields."""
    return canonical({k: v for k, v in cell.to_dict().items() if k not in ignored})


def with_recorded(
    planned: Sequence[Identity],
    points: Iterable[GridPoint],
    records: Iterable[Record],
    config: RunConfig,
) -> list[Identity]:
    """The planned cells, and after those of the same number of edits what records have.

    Of own editors and data sets whose code is not loaded nothing can be planned: their cells are
    known by names alone, and of records of several versions of the code the newest is taken. They
    are in the order of a table, and hold the metric sets of the configuration.
    """
    wanted = {name for point in points for name in _names_of(point, config)}
    newest: dict[tuple[object, ...], Record] = {}
    for record in records:
        cell = record["cell"]
        editing = cell.get("kind") == Cell.kind
        rest = (cell["limit"], cell["generation"]) if editing else (None, None)
        names = CellKey.of(cell), cell["dtype"], *rest
        has_sets = _has_sets(cell.get("measures", {}), config.measure)
        fits = names in wanted and has_sets and _agrees(cell, planned)
        if fits and _started(record) >= _started(newest.get(names)):
            newest[names] = record
    recorded = sorted((r["cell"] for r in newest.values()), key=lambda c: CellKey.of(c).order)
    cells = [*planned, *map(identity_of, recorded)]
    return sorted(cells, key=lambda cell: CellKey.of(cell.to_dict()).n_edits or 0)


def _names_of(point: GridPoint, config: RunConfig) -> Iterator[tuple[object, ...]]:
    """Of a cell of editing, and of another kind, which has neither limit nor generation."""
    path = Path(point.backbone).expanduser()
    key = point.key._replace(backbone=path.resolve().name) if path.is_dir() else point.key
    yield key, config.dtype, point.limit, config.generation
    yield key, config.dtype, None, None


def _has_sets(measures: Collection[str], wanted: Collection[str]) -> bool:
    """Whether a cell has the wanted metric sets, or none where none are wanted."""
    return set(wanted) <= set(measures) if wanted else not measures


def _agrees(cell: Mapping[str, Any], planned: Sequence[Identity]) -> bool:
    """Whether a record is of the model and the data that the planned cells are of."""
    stream = stream_of(cell)
    for other in (identity.to_dict() for identity in planned):
        theirs = stream_of(other)
        same = theirs.get("dataset") == stream["dataset"]
        if other["backbone_digest"] != cell["backbone_digest"] or (
            same and theirs["dataset_digest"] != stream["dataset_digest"]
        ):
            return False
    return True


def _started(record: Record | None) -> str:
    return "" if record is None else str(record["provenance"].get("started", ""))
