"""Stored records of the cells of a plan, by the protocol that they follow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bench.core.cells import Identity, canonical, of_protocol, way_of
from bench.evaluation.record_kinds import identity_of
from bench.store.results import Record

# Fields of identities that say what is done and asked, of whichever kind.
_OF_PROTOCOL = {
    "protocol", "scoring_time", "batch_per_step", "varies", "generation", "metric_version",
    "harness", "scoring", "wording", "protocol_version", "weights", "timing_version",
}  # fmt: skip


def followed(
    cells: Sequence[Identity], records: Iterable[Record], wanted: str
) -> Sequence[Identity]:
    """The planned cells as they were stored by the wanted protocol, in the order of the plan.

    Raises:
        ValueError: no record of these cells follows it.
    """
    stored = of_protocol(_stored(cells, records), wanted)
    planned = {cell.key() for cell in cells}
    stored.sort(key=lambda one: one.key() not in planned)  # what was planned goes first
    by_place: dict[str, Identity] = {}
    for one in stored:
        by_place.setdefault(_place(one), one)
    return [by_place[place] for cell in cells if (place := _place(cell)) in by_place]


def records_of_protocol(records: Sequence[Record], wanted: str) -> list[Record]:
    """The records that follow a protocol.

    Raises:
        ValueError: none does.
    """
    by_key = {record["key"]: record for record in records}
    identities = [identity_of(record["cell"]) for record in by_key.values()]
    return [by_key[one.key()] for one in of_protocol(identities, wanted)]


def others_there(cells: Sequence[Identity], records: Iterable[Record]) -> str:
    """One sentence about records of these cells that follow other protocols; empty without any."""
    ways = {way_of(cell.protocol_id) for cell in cells}
    found = [one for one in _stored(cells, records) if way_of(one.protocol_id) not in ways]
    if not found:
        return ""
    ids = sorted({one.protocol_id for one in found})
    count = "1 record of these cells follows" if len(found) == 1 else (
        f"{len(found):,} records of these cells follow"
    )  # fmt: skip
    return (
        f"{count} another protocol ({', '.join(ids)}), which shares no column with "
        f"{', '.join(sorted(ways))}; --protocol {way_of(ids[0])} shows that one instead."
    )


def _stored(cells: Sequence[Identity], records: Iterable[Record]) -> Iterator[Identity]:
    """What records hold of the planned cells, in whichever protocol."""
    places = {_place(cell) for cell in cells}
    identities = (identity_of(record["cell"]) for record in records)
    yield from (one for one in identities if _place(one) in places)


def _place(cell: Identity) -> str:
    """All of an identity but the protocol."""
    return canonical({k: v for k, v in cell.to_dict().items() if k not in _OF_PROTOCOL})
