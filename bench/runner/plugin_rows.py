"""Rows of a table that only records can give: of own editors and data sets that are not loaded.

They are told by their place alone, since nothing can be planned without the code. Of records of
several versions of the code the newest is taken.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import datasets
from bench.core.cells import Cell, Identity
from bench.core.grids import GridPoint, Selection, Table
from bench.core.names import editor_keys, row_order
from bench.datasets.plugins import EDITOR_SOURCE
from bench.evaluation.record_kinds import identity_of
from bench.runner.planning import Settings
from bench.store.results import Record
from editors import registry

Place = tuple[object, ...]


def with_own_editors(table: Table, selection: Selection, records: Iterable[Record]) -> Selection:
    """A selection that names no editors, with the own ones of which there are records."""
    if selection.editors is not None or table.editors is not None:
        return selection
    streams = [_stream(record["cell"]) for record in records]
    own = {one["editor"] for one in streams if EDITOR_SOURCE in one.get("inputs", {})}
    if not own:
        return selection
    return replace(selection, editors=(*editor_keys(recent=selection.recent), *sorted(own)))


def parted_points(points: Iterable[GridPoint]) -> tuple[list[GridPoint], list[GridPoint]]:
    """(points that can be planned, those of which there can be records alone)."""
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
    settings: Settings,
) -> list[Identity]:
    """The planned cells, and behind those of the same number of edits what records have.

    These are in the order of a table, and hold the metric sets that are asked for.
    """
    wanted = {place for point in points for place in _places_of(point, settings)}
    newest: dict[Place, Record] = {}
    for record in records:
        place = _place(record["cell"])
        fits = place in wanted and _has_sets(record["cell"], settings.measures)
        fits = fits and _agrees(record["cell"], planned)
        if fits and _started(record) >= _started(newest.get(place)):
            newest[place] = record
    recorded = sorted((record["cell"] for record in newest.values()), key=_order)
    cells = [*planned, *map(identity_of, recorded)]
    return sorted(cells, key=lambda cell: int(_stream(cell.to_dict()).get("n_edits") or 0))


def _has_sets(cell: Mapping[str, Any], wanted: Collection[str]) -> bool:
    """Whether a cell has the metric sets that are asked for, and none where none are."""
    found = cell.get("measures", {})
    return set(wanted) <= found.keys() if wanted else not found


def _order(cell: Mapping[str, Any]) -> tuple[object, ...]:
    one = _stream(cell)
    return row_order(one["editor"], one["dataset"]), one["seed"]


def _agrees(cell: Mapping[str, Any], planned: Sequence[Identity]) -> bool:
    """Whether a record is of the model and the data that the planned cells are of."""
    one = _stream(cell)
    for other in (identity.to_dict() for identity in planned):
        if other["backbone_digest"] != cell["backbone_digest"]:
            return False
        stream = _stream(other)
        same = stream.get("dataset") == one["dataset"]
        if same and stream["dataset_digest"] != one["dataset_digest"]:
            return False
    return True


def _places_of(point: GridPoint, settings: Settings) -> tuple[Place, Place]:
    """Of a cell of editing, and of one of another kind, which has neither limit nor generation."""
    path = Path(point.backbone).expanduser()
    backbone = path.resolve().name if path.is_dir() else point.backbone
    where = (backbone, settings.dtype, point.editor, point.dataset, point.n_edits, point.seed)
    return (*where, point.limit, settings.generation), (*where, None, None)


def _place(cell: Mapping[str, Any]) -> Place:
    stream = _stream(cell)
    names = ("editor", "dataset", "n_edits", "seed")
    where = (cell["backbone"], cell["dtype"], *(stream.get(name) for name in names))
    if cell.get("kind") != Cell.kind:
        return *where, None, None
    return *where, cell["limit"], cell["generation"]


def _stream(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    """What holds the editor: the cell itself, or the edits of an ability cell; {} without any."""
    edits: Mapping[str, Any] | None = cell.get("edits", cell)
    return edits or {}


def _started(record: Record | None) -> str:
    return "" if record is None else str(record["provenance"].get("started", ""))
