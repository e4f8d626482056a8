"""Two records of one cell compared: the same names, finite numbers, and few items that flipped."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bench.core.cells import Cell, stream_of
from bench.evaluation.metrics import ASPECTS, PORTABILITY_KNOWN, SampleRow
from bench.evaluation.record_kinds import AbilityCell, TimingCell
from bench.store.reference import compact
from bench.store.results import Record, failure_of, is_complete

Verdict = Literal["equal", "near", "differs", "stale", "failed", "left out"]
GOOD: tuple[Verdict, ...] = ("equal", "near", "left out")
# Items of one score whose answer may be another on other versions or CPUs, where two tokens are
# nearly tied, whatever the number of items (ours).
FLIPS = 1
FACTOR = 100.0  # by which times may differ: all that holds on any machine (ours)
MEASURED = ("summary", "by_age", "health")  # the parts of a record that are compared
EFFECT = "effect"  # of the edits on log-probabilities, which is no mean of items
# Of an effect, relative: cached answers of the unedited model are those of other batches (ours).
ROUNDING = 1e-5

Path = tuple[Any, ...]  # names, and places in lists
Leaf = tuple[Path, Any, Any]  # with the reference's value and that of now
_ABSENT = object()


@dataclass(frozen=True)
class Outcome:
    """The result of checking one reference cell."""

    cell: str  # in words
    verdict: Verdict
    detail: str = ""
    reference: str = ""  # the committed file that has it, without its ending

    @property
    def good(self) -> bool:
        """Whether the reference still holds."""
        return self.verdict in GOOD


def compare(reference: Record, now: Record, name: str) -> Outcome:
    """Exact on the same versions and CPU instructions, within `FLIPS` items otherwise.

    Both must have the same names, and finite numbers. Effects may be rounded otherwise, and times
    differ by `FACTOR`.
    """
    if not is_complete(now):
        return Outcome(name, "failed", failure_of(now))
    if not is_complete(reference) or reference["key"] != now["key"]:
        return Outcome(name, "differs", "the reference is of another cell, or of one that failed")
    was, new = (
        {part: record[part] for part in MEASURED if part in record}
        for record in (reference, compact(now))
    )
    leaves = list(_leaves(was, new))
    faults = list(filter(None, (_fault(*leaf) for leaf in leaves)))
    if not any(isinstance(value, float) for _, value, _ in leaves):
        faults.append("the reference has no score")
    if faults:
        return _differs(name, faults)
    moved = [leaf for leaf in leaves if leaf[1] != leaf[2]]
    if not moved:
        return Outcome(name, "equal")
    if now["cell"].get("kind") == TimingCell.kind:
        return _times(name, moved)
    return _scores(name, moved, _Counts(now, new), exact=environment(reference) == environment(now))


def _fault(path: Path, was: Any, now: Any) -> str | None:
    """Why two values cannot be near, None where they are equal or two finite numbers."""
    where = "/".join(map(str, path))
    if was is _ABSENT or now is _ABSENT:
        return f"{where} is {'new' if was is _ABSENT else 'absent'}"
    if any(isinstance(value, float) and not math.isfinite(value) for value in (was, now)):
        return f"{where} is no finite number"
    if was == now or (isinstance(was, float) and isinstance(now, float)):
        return None
    return f"{where} was {was!r:.60} and is {now!r:.60}"


def _times(name: str, moved: Sequence[Leaf]) -> Outcome:
    far = [leaf for leaf in moved if not _within_factor(leaf)]
    detail = f"{len(moved)} times of this machine"
    return _differs(name, map(_moved, far)) if far else Outcome(name, "near", detail)


def _scores(name: str, moved: Sequence[Leaf], counts: _Counts, *, exact: bool) -> Outcome:
    effects, scores = ([leaf for leaf in moved if (leaf[0][-1] == EFFECT) == e] for e in (1, 0))
    flips = [round(abs(was - now) * counts.of(path), 1) for path, was, now in scores]
    far = [leaf for leaf in effects if not (_rounded(leaf) if exact else _within_factor(leaf))]
    far += [leaf for leaf, some in zip(scores, flips, strict=True) if exact or some > FLIPS]
    if far:
        return _differs(name, map(_moved, far))
    if exact:
        return Outcome(name, "near", f"{len(moved)} effects moved in their last digits")
    detail = f"{len(moved)} numbers moved, by {max(flips, default=0.0):.2g} items at most"
    return Outcome(name, "near", f"{detail}, on another machine")


def _rounded(leaf: Leaf) -> bool:
    return math.isclose(*leaf[1:], rel_tol=ROUNDING)


def _within_factor(leaf: Leaf) -> bool:
    low, high = sorted(leaf[1:])
    return bool(low > 0 and high <= FACTOR * low)


def _moved(leaf: Leaf) -> str:
    path, was, now = leaf
    return f"{'/'.join(map(str, path))} was {was:.6f} and is {now:.6f}"


def _differs(name: str, faults: Iterable[str]) -> Outcome:
    first, *rest = faults
    return Outcome(name, "differs", first + (f" (and {len(rest)} more)" if rest else ""))


def environment(record: Record) -> dict[str, Any]:
    """What decides whether numbers can be equal to the last bit."""
    provenance = record["provenance"]
    hardware = provenance["hardware"]
    return {
        "libraries": provenance["libraries"],
        "threads": provenance["threads"],
        **{name: hardware.get(name) for name in ("cpu_capability", "device", "accelerator")},
    }


def _leaves(was: Any, now: Any, path: Path = ()) -> Iterator[Leaf]:
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for name in {**was, **now}:
            left, right = was.get(name, _ABSENT), now.get(name, _ABSENT)
            yield from _leaves(left, right, (*path, name))
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for place, (left, right) in enumerate(zip(was, now, strict=True)):
            yield from _leaves(left, right, (*path, place))
    else:
        yield path, was, now


class _Counts:
    """How many items each number is a mean of; of a mean of scores, the fewest."""

    def __init__(self, record: Record, parts: Mapping[str, Any]) -> None:
        kind, self._parts = record["cell"].get("kind"), parts
        self._named: Mapping[Any, int] = {}
        if kind == AbilityCell.kind:
            tasks = record["summary"]["tasks"].values()
            edits = stream_of(record["cell"]).get("n_edits", 1)
            self._named = {"reliability": edits, "average": min(task["items"] for task in tasks)}
        elif kind == Cell.kind:
            self._named = _samples(record.get("rows", ()))

    def of(self, path: Path) -> int:
        """By name in a summary, else the nearest count of samples or items above the number."""
        if path[0] == "summary" and path[-1] in self._named:
            return self._named[path[-1]]
        node: Any = self._parts
        count = 1
        for name in path[:-1]:
            node = node[name]
            if isinstance(node, Mapping):
                count = int(node.get("samples", node.get("items", count)))
        if path[-1] == "macro":
            groups = [group["items"] for group in node["groups"].values()]
            return len(groups) * int(min(groups))
        return count


def _samples(rows: Iterable[SampleRow]) -> dict[Any, int]:
    """Aspect, and aspect/kind -> samples that have such items."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update({item["aspect"] for item in row["items"]})
        counts.update({f"{item['aspect']}/{item['kind']}" for item in row["items"]})
        asked = [item for item in row["items"] if item["aspect"] == "portability"]
        counts[PORTABILITY_KNOWN] += any(item.get("known", True) for item in asked)
    aspects = [counts[aspect] for aspect in ASPECTS if counts[aspect]]
    return {**counts, "average": min(aspects)} if aspects else {}
