"""Questions to stored records: which are stale, which belong to a plan, and what a plan lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import datasets
from bench.core.cells import Cell, CellKey, Identity, canonical, of_protocol, stream_of, way_of
from bench.core.config import RunConfig
from bench.core.grids import GridPoint, Table
from bench.core.names import editor_keys
from bench.datasets import EDITOR_SOURCE
from bench.evaluation.record_kinds import (
    OUR_WORDING,
    TIMING_VERSION,
    AbilityCell,
    TimingCell,
    identity_of,
)
from bench.store.results import Record
from editors import registry

# Fields of identities of any kind that define the protocol.
_PROTOCOL_FIELDS = {
    "protocol", "scoring_time", "batch_per_step", "varies", "generation", "metric_version",
    "harness", "scoring", "wording", "protocol_version", "weights", "timing_version",
}  # fmt: skip


def stale_reason(record: Record) -> str | None:
    """Why the present code would not compute a record, None of a current one."""
    cell = record["cell"]
    versions = (*_protocol_versions(cell), *_editor_versions(stream_of(cell)))
    return next((f"{name} {was}, now {now}" for name, was, now in versions if was != now), None)


def split_stale(records: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    """(current records, stale ones)."""
    current: list[Record] = []
    stale: list[Record] = []
    for record in records:
        (current if stale_reason(record) is None else stale).append(record)
    return current, stale


def stale_warning(stale: Sequence[Record]) -> str:
    """One line about records that are left out; empty where there are none."""
    if not stale:
        return ""
    count = "1 stale record is" if len(stale) == 1 else f"{len(stale):,} stale records are"
    return (
        f"warning: {count} left out ({stale_reason(stale[0])}); python -m bench results list "
        "--state stale names them."
    )


def records_of(records: Iterable[Record], cells: Iterable[Identity]) -> list[Record]:
    """The records with the names of some cells, whatever the versions and settings are."""
    keys = {_kind_and_key(cell.to_dict()) for cell in cells}
    return [record for record in records if _kind_and_key(record["cell"]) in keys]


def _kind_and_key(cell: Mapping[str, Any]) -> tuple[str | None, CellKey]:
    return cell.get("kind"), CellKey.of(cell)


def _protocol_versions(cell: Mapping[str, Any]) -> Iterator[tuple[str, object, object]]:
    """(name, version of the cell, present version) of what its numbers mean."""
    from bench.evaluation.general_ability.scoring import PROTOCOL_VERSION as ABILITY_VERSION
    from bench.evaluation.metrics import PROTOCOL_VERSION

    kind = cell.get("kind")
    if kind == Cell.kind:
        yield "metric protocol", cell["metric_version"], PROTOCOL_VERSION
        yield from _set_versions(cell)
    if kind == TimingCell.kind:
        yield "timing protocol", cell["timing_version"], TIMING_VERSION
    if kind == AbilityCell.kind:
        yield "ability protocol", cell["protocol_version"], ABILITY_VERSION
        if cell["scoring"] == "paper":
            yield "wording", cell["wording"], OUR_WORDING


def _set_versions(cell: Mapping[str, Any]) -> Iterator[tuple[str, object, object]]:
    """Of optional metric sets; what an identity has of one begins with its version."""
    from bench.evaluation.metric_sets import available, get_set

    for name, text in cell.get("measures", {}).items():
        now = f"v{get_set(name).version}" if name in available() else "gone"
        yield f"metric set {name}", text.partition(" ")[0], now


def _editor_versions(stream: Mapping[str, Any]) -> Iterator[tuple[str, object, object]]:
    name = stream.get("editor")
    if name is None:
        return
    there = name in registry.available()
    if EDITOR_SOURCE in stream["inputs"]:  # a user's own: its version says less than its source
        if there:
            source = registry.source_of(name) or ""
            yield f"source of {name}", stream["inputs"][EDITOR_SOURCE][:8], source[:8]
        return
    now = registry.editor_class(name).version if there else "gone"
    yield f"{name} version", stream["editor_version"], now


def stored_by_protocol(
    cells: Sequence[Identity], records: Iterable[Record], wanted: str
) -> Sequence[Identity]:
    """The planned cells as they were stored by the wanted protocol, in the order of the plan."""
    stored = of_protocol(_stored(cells, records, _PROTOCOL_FIELDS), wanted)
    planned = {cell.key() for cell in cells}
    stored.sort(key=lambda cell: cell.key() not in planned)  # what was planned goes first
    by_rest = {_but(cell, _PROTOCOL_FIELDS): cell for cell in reversed(stored)}
    return [by_rest[rest] for c in cells if (rest := _but(c, _PROTOCOL_FIELDS)) in by_rest]


def records_of_protocol(records: Sequence[Record], wanted: str) -> list[Record]:
    """The records that follow a protocol; never none."""
    by_key = {record["key"]: record for record in records}
    identities = [identity_of(record["cell"]) for record in by_key.values()]
    return [by_key[identity.key()] for identity in of_protocol(identities, wanted)]


def other_protocols(cells: Sequence[Identity], records: Iterable[Record]) -> str:
    """One sentence about records of these cells that follow other protocols; empty without any."""
    ways = {way_of(cell.protocol_id) for cell in cells}
    stored = _stored(cells, records, _PROTOCOL_FIELDS)
    others = [cell for cell in stored if way_of(cell.protocol_id) not in ways]
    if not others:
        return ""
    ids = sorted({cell.protocol_id for cell in others})
    count = "1 record of these cells follows" if len(others) == 1 else (
        f"{len(others):,} records of these cells follow"
    )  # fmt: skip
    return (
        f"{count} another protocol ({', '.join(ids)}), which shares no column with "
        f"{', '.join(sorted(ways))}; --protocol {way_of(ids[0])} shows that one instead."
    )


def stored_with_sets(cells: Sequence[Cell], records: Iterable[Record]) -> Sequence[Cell]:
    """The planned cells as they were stored with at least their optional metric sets.

    A cell that was not stays as it is. Where several were, that with the fewest sets is taken.
    """
    by_rest: dict[str, list[Cell]] = {}
    for stored in _stored(cells, records, {"measures"}):
        if isinstance(stored, Cell) and stored.measures:
            by_rest.setdefault(_but(stored, {"measures"}), []).append(stored)

    def as_stored(cell: Cell) -> Cell:
        there = by_rest.get(_but(cell, {"measures"}), [])
        fitting = [other for other in there if cell.measures.items() <= other.measures.items()]
        return min(fitting, key=lambda other: (len(other.measures), other.key()), default=cell)

    return [as_stored(cell) for cell in cells]


def _stored(
    cells: Sequence[Identity], records: Iterable[Record], ignored: Collection[str]
) -> list[Identity]:
    """What records hold of the planned cells, whatever some fields are."""
    planned = {_but(cell, ignored) for cell in cells}
    identities = (identity_of(record["cell"]) for record in records)
    return [identity for identity in identities if _but(identity, ignored) in planned]


def _but(cell: Identity, ignored: Collection[str]) -> str:
    """All of an identity but some fields."""
    return canonical({k: v for k, v in cell.to_dict().items() if k not in ignored})


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


def missing_commands(table: int, cells: Sequence[Cell]) -> Iterator[str]:
    """For each number of edits, the command that computes the missing cells."""
    for n_edits in sorted({cell.n_edits for cell in cells}):
        those = [cell for cell in cells if cell.n_edits == n_edits]
        editors, names = (
            ",".join(dict.fromkeys(getattr(cell, name) for cell in those))
            for name in ("editor", "dataset")
        )
        yield (
            f"not run at {n_edits:,} edits: python -m bench run --table {table} "
            f"--editors {editors} --datasets {names} --edits {n_edits}"
        )


def with_own_editors(table: Table, config: RunConfig, records: Iterable[Record]) -> RunConfig:
    """A selection that names no editors, with a user's own ones of which there are records."""
    if config.editors is not None or table.editors is not None:
        return config
    streams = [stream_of(record["cell"]) for record in records]
    own = {stream["editor"] for stream in streams if EDITOR_SOURCE in stream.get("inputs", {})}
    if not own:
        return config
    return replace(config, editors=(*editor_keys(recent=config.recent), *sorted(own)))


def split_points(points: Iterable[GridPoint]) -> tuple[list[GridPoint], list[GridPoint]]:
    """(points that can be planned, those whose editor's or data set's code is not loaded)."""
    here: list[GridPoint] = []
    gone: list[GridPoint] = []
    for point in points:
        present = registry.is_present(point.editor) and datasets.is_present(point.dataset)
        (here if present else gone).append(point)
    return here, gone


def with_recorded(
    planned: Sequence[Identity],
    points: Iterable[GridPoint],
    records: Iterable[Record],
    *,
    dtype: str,
    generation: str,
    measures: Collection[str],
) -> list[Identity]:
    """The planned cells, and after those of the same number of edits what records have.

    Of own editors and data sets whose code is not loaded nothing can be planned: their cells are
    known by names alone, and of records of several versions of the code the newest is taken. They
    are in the order of a table, and hold the metric sets `measures`.
    """
    wanted = {name for point in points for name in _names_of(point, dtype, generation)}
    newest: dict[tuple[object, ...], Record] = {}
    for record in records:
        cell = record["cell"]
        names = _names_in(cell)
        fits = names in wanted and _has_sets(cell, measures) and _agrees(cell, planned)
        if fits and _started(record) >= _started(newest.get(names)):
            newest[names] = record
    recorded = sorted((r["cell"] for r in newest.values()), key=lambda c: CellKey.of(c).order)
    cells = [*planned, *map(identity_of, recorded)]
    return sorted(cells, key=lambda cell: CellKey.of(cell.to_dict()).n_edits or 0)


def _names_of(point: GridPoint, dtype: str, generation: str) -> Iterator[tuple[object, ...]]:
    """Of a cell of editing, and of another kind, which has neither limit nor generation."""
    path = Path(point.backbone).expanduser()
    key = point.key._replace(backbone=path.resolve().name) if path.is_dir() else point.key
    yield key, dtype, point.limit, generation
    yield key, dtype, None, None


def _names_in(cell: Mapping[str, Any]) -> tuple[object, ...]:
    editing = cell.get("kind") == Cell.kind
    rest = (cell["limit"], cell["generation"]) if editing else (None, None)
    return CellKey.of(cell), cell["dtype"], *rest


def _has_sets(cell: Mapping[str, Any], wanted: Collection[str]) -> bool:
    """Whether a cell has the wanted metric sets, and none where none are wanted."""
    there = cell.get("measures", {})
    return set(wanted) <= there.keys() if wanted else not there


def _agrees(cell: Mapping[str, Any], planned: Sequence[Identity]) -> bool:
    """Whether a record is of the model and the data that the planned cells are of."""
    stream = stream_of(cell)
    for other in (identity.to_dict() for identity in planned):
        if other["backbone_digest"] != cell["backbone_digest"]:
            return False
        theirs = stream_of(other)
        same = theirs.get("dataset") == stream["dataset"]
        if same and theirs["dataset_digest"] != stream["dataset_digest"]:
            return False
    return True


def _started(record: Record | None) -> str:
    return "" if record is None else str(record["provenance"].get("started", ""))
