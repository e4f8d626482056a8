"""A record made now beside the reference of the same cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bench.store.compact import compact
from bench.store.results import Record, is_complete

Verdict = Literal["equal", "near", "differs", "stale", "failed", "left out"]
# Scores in [0, 1] that may differ between other versions or CPUs, where a near tie falls the other
# way (ours: two points).
TOLERANCE = 0.02
GOOD: tuple[Verdict, ...] = ("equal", "near", "left out")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one reference cell."""

    cell: str  # in words
    verdict: Verdict
    detail: str = ""

    @property
    def good(self) -> bool:
        """Whether the reference still holds."""
        return self.verdict in GOOD


def compare(reference: Record, now: Record, name: str) -> Outcome:
    """Exact on the same versions and CPU instructions, within `TOLERANCE` otherwise."""
    if not is_complete(now):
        status = now["status"]
        return Outcome(
            cell=name, verdict="failed", detail=f"{status['error']}: {status['message']}"
        )
    pairs = list(_scores(reference["summary"], compact(now)["summary"]))
    same = environment(reference) == environment(now)
    wrong = [
        f"{where} was {was:.6f} and is {found:.6f}"
        for where, was, found in pairs
        if (was != found if same else abs(was - found) > TOLERANCE)
    ]
    if not pairs:
        return Outcome(cell=name, verdict="differs", detail="the two have no score in common")
    if wrong:
        rest = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return Outcome(cell=name, verdict="differs", detail=wrong[0] + rest)
    moved = sum(was != found for _, was, found in pairs)
    if moved:
        detail = f"{moved} of {len(pairs)} scores moved by at most {TOLERANCE}, on another machine"
        return Outcome(cell=name, verdict="near", detail=detail)
    return Outcome(cell=name, verdict="equal")


def changed_identity(reference: Record, cell: Mapping[str, Any]) -> str:
    """The first thing in which today's cell is not the reference's; its key says that one is."""
    for name, was in reference["cell"].items():
        found = cell.get(name)
        if found == was:
            continue
        if isinstance(was, dict) and isinstance(found, dict):
            inner = next(k for k in {**was, **found} if was.get(k) != found.get(k))
            return f"{name}.{inner} was {was.get(inner)!r} and is {found.get(inner)!r}"
        return f"{name} was {was!r} and is {found!r}"
    return f"{', '.join(cell.keys() - reference['cell'].keys())} is new"


def environment(record: Record) -> dict[str, Any]:
    """What decides whether numbers can be equal to the last bit."""
    made = record["provenance"]
    hardware = made["hardware"]
    return {
        "libraries": made["libraries"],
        "threads": made["threads"],
        **{name: hardware.get(name) for name in ("cpu_capability", "device", "accelerator")},
    }


def _scores(was: Any, found: Any, where: str = "") -> Iterator[tuple[str, float, float]]:
    """(path, reference, now) of every number that both have."""
    if isinstance(was, Mapping) and isinstance(found, Mapping):
        for name in was:
            if name in found:
                yield from _scores(was[name], found[name], f"{where}/{name}".strip("/"))
    elif isinstance(was, int | float) and isinstance(found, int | float):
        yield where, float(was), float(found)
