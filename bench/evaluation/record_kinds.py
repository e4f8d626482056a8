"""The kinds of record there are. A new kind is one more class in this table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.core.cells import Cell, Identity
from bench.evaluation.general_ability.cell import AbilityCell
from bench.evaluation.timing.cell import TimingCell

KINDS: dict[str | None, type[Identity]] = {cls.kind: cls for cls in (Cell, AbilityCell, TimingCell)}

_NAMES = ("kind", "backbone", "dataset", "editor", "n_edits", "seed", "limit", "dtype")


def names_of(cell: Identity) -> dict[str, Any]:
    """The names in a cell's identity, without its digests and settings."""
    values = cell.to_dict()
    values |= values.get("edits") or {}  # of general ability: the stream of edits
    return {name: values.get(name) for name in _NAMES}


def edits_in(cell: Identity) -> int | None:
    """How many edits computing a cell makes; None where only its data tells."""
    if isinstance(cell, Cell):
        return None if cell.limit is None else cell.limit // cell.n_edits * cell.n_edits
    return int(names_of(cell)["n_edits"] or 0)


def identity_of(values: Mapping[str, Any]) -> Identity:
    """The identity that a record's `cell` holds.

    Raises:
        ValueError: a kind that there is not.
        TypeError: other fields than the kind's.
    """
    kind = values.get("kind")
    if kind not in KINDS:
        raise ValueError(f"Unknown kind of record {kind!r}.")
    return KINDS[kind].from_dict(values)
