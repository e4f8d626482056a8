"""Records that the present code would not make: of other definitions, or of another editor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bench.core.cells import Cell, Identity
from bench.evaluation.general_ability.cell import AbilityCell
from bench.evaluation.timing.cell import TimingCell
from bench.store.results import Record


def stale_reason(record: Record) -> str | None:
    """Why a record is stale, None of a current one."""
    cell = record["cell"]
    versions = (*_protocols(cell), *_editors(_stream(cell)))
    return next((f"{name} {was}, now {now}" for name, was, now in versions if was != now), None)


def parted(records: Iterable[Record]) -> tuple[list[Record], list[Record]]:
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


def belonging(records: Iterable[Record], cells: Iterable[Identity]) -> list[Record]:
    """The records at the places of some cells, whatever the versions and settings are."""
    places = {_place(cell.to_dict()) for cell in cells}
    return [record for record in records if _place(record["cell"]) in places]


def _place(cell: Mapping[str, Any]) -> tuple[object, ...]:
    stream = _stream(cell) or {}
    names = ("editor", "dataset", "n_edits", "seed")
    return cell.get("kind"), cell["backbone"], *(stream.get(name) for name in names)


def _stream(cell: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What holds the editor: the cell itself, or the edits of an ability cell."""
    edits: Mapping[str, Any] | None = cell.get("edits")
    return edits if cell.get("kind") == AbilityCell.kind else cell


def _protocols(cell: Mapping[str, Any]) -> Iterator[tuple[str, object, object]]:
    """(name, version of the cell, present version) of what its numbers mean."""
    from bench.evaluation.general_ability.cell import OUR_WORDING
    from bench.evaluation.general_ability.rows import PROTOCOL_VERSION as ABILITY_VERSION
    from bench.evaluation.metrics import PROTOCOL_VERSION
    from bench.evaluation.timing.cell import TIMING_VERSION

    kind = cell.get("kind")
    if kind == Cell.kind:
        yield "metric protocol", cell["metric_version"], PROTOCOL_VERSION
        yield from _sets(cell)
    if kind == TimingCell.kind:
        yield "timing protocol", cell["timing_version"], TIMING_VERSION
    if kind == AbilityCell.kind:
        yield "ability protocol", cell["protocol_version"], ABILITY_VERSION
        if cell["scoring"] == "paper":
            yield "wording", cell["wording"], OUR_WORDING


def _sets(cell: Mapping[str, Any]) -> Iterator[tuple[str, object, object]]:
    """Of optional metric sets; what an identity says of one begins with its version."""
    from bench.evaluation.metric_sets import available, get_set

    for name, said in cell.get("measures", {}).items():
        now = f"v{get_set(name).version}" if name in available() else "gone"
        yield f"metric set {name}", said.partition(" ")[0], now


def _editors(stream: Mapping[str, Any] | None) -> Iterator[tuple[str, object, object]]:
    from bench.datasets.plugins import EDITOR_SOURCE
    from editors import registry

    if stream is None or stream["editor"] is None:
        return
    name, was = stream["editor"], stream["editor_version"]
    if EDITOR_SOURCE in stream["inputs"]:  # a user's own: its version says less than its source
        if name in registry.available():
            source = registry.source_of(name) or ""
            yield f"source of {name}", stream["inputs"][EDITOR_SOURCE][:8], source[:8]
        return
    there = name in registry.available()
    now = registry.editor_class(name).version if there else "gone"
    yield f"{name} version", was, now
