"""Answers of a block's probing so far, as a checkpoint holds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.evaluation.batching import Course
from bench.evaluation.metrics import Channel
from bench.evaluation.probing import Both, Forced, Ids


class AskedSoFar:
    """A course for each channel; none of a new block holds any answer."""

    def __init__(self, behind: Callable[[], None]) -> None:
        """`behind` is called behind each batch."""
        self._behind = behind
        self.begin()

    def begin(self, kept: Mapping[str, Sequence[Any]] | None = None) -> None:
        """Probe another block, from where `to_dict` of this one was."""
        kept = kept or {}
        self.forced: dict[Channel, Course[Forced]] = {
            channel: Course([_forced(row) for row in kept.get(channel, ())], self._behind)
            for channel in ("teacher_forced", "prompt_only")
        }
        ids = [tuple(row) for row in kept.get("generated", ())]
        self.generated: Course[Ids] = Course(ids, self._behind)
        pairs = [(_forced(forced), tuple(ids)) for forced, ids in kept.get("together", ())]
        self.together: Course[Both] = Course(pairs, self._behind)

    def to_dict(self) -> dict[str, list[Any]]:
        """Plain JSON values."""
        kept: dict[str, list[Any]] = {"generated": list(self.generated.found)}
        kept["together"] = [[_plain(forced), ids] for forced, ids in self.together.found]
        for channel, course in self.forced.items():
            kept[channel] = [_plain(one) for one in course.found]
        return kept


def _plain(one: Forced) -> list[Any]:
    return [one.target_ids, one.predicted_ids, one.log_probability]


def _forced(row: Sequence[Any]) -> Forced:
    target, predicted, log_probability = row
    return Forced(tuple(target), tuple(predicted), float(log_probability))
