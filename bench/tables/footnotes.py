"""What a table says beside the numbers of an editor that changed nothing or diverged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Ours: a change of a target's log-probability below it is rounding, as by a longer masked prefix.
ROUNDING = 1e-4


def remark(blocks: Sequence[Mapping[str, Any]]) -> str | None:
    """`diverged at edit 37`, `no effect`, or both of a record's blocks; None where all is well."""
    diverged = [block for block in blocks if block["effect"] is None]
    idle = [block for block in blocks if block["effect"] is not None and block["effect"] < ROUNDING]
    parts = []
    if diverged:
        edits = [block["diverged_at"] for block in diverged if block["diverged_at"] is not None]
        where = f" at edit {min(edits)}" if edits else ""
        parts.append(f"diverged{where}" + _share(len(diverged), len(blocks)))
    if idle:
        parts.append("no effect" + _share(len(idle), len(blocks)))
    return ", ".join(parts) or None


def _share(some: int, count: int) -> str:
    return "" if some == count else f" ({some} of {count} blocks)"
