"""The optional metric sets of a cell, at work on its stream of edits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.core.cells import Cell
from bench.core.provenance import Clock
from bench.evaluation.metric_set import Block, Found, MetricSet, Running
from bench.evaluation.metric_sets import get_set
from bench.evaluation.metrics import SampleRow

if TYPE_CHECKING:
    from torch import Tensor

PHASE = "measures"


class Measuring:
    """Calls the sets where they want to look, and holds what they found.

    Sets that edit on come last, each on the model as the block's own edits left it.
    """

    def __init__(self, running: Running, clock: Clock, blocks: Sequence[Block]) -> None:
        """The editor holds no edit."""
        self._running = running
        self._clock = clock
        self._blocks = blocks
        sets = [get_set(name) for name in running.cell.measures]
        self._sets = sorted(sets, key=lambda one: one.edits_on)
        self._before: dict[str, Any] = {}
        self.found: dict[str, dict[str, dict[str, Any]]] = {one.name: {} for one in self._sets}

    def before(self) -> None:
        """Look at the unedited model."""
        if self._sets:
            with self._clock.phase(PHASE):
                self._before = {s.name: s.before(self._running, self._blocks) for s in self._sets}

    def resume(self, kept: Mapping[str, Any]) -> None:
        """Go on from what an earlier run found."""
        self.found.update(kept)

    def behind_edits(self, number: int, made: int, kept: Callable[[], None]) -> None:
        """Look at the model behind the first edits of a block, where a set has not done so.

        `kept` is called where the model is as the stream left it, and work would be lost.
        """
        block, running = self._blocks[number], replace(self._running, between=kept)
        for one in self._sets:
            if made in one.stages(len(block)) and _measures(one, number):
                stages = self._of(one, number)["stages"]
                if str(made) not in stages:
                    with self._clock.phase(PHASE):
                        stages[str(made)] = one.behind(running, block, made)

    def at_end(self, number: int, kept: Callable[[], None]) -> None:
        """Look at the model behind all edits of a block; sets may leave further edits in it.

        `kept` is called as in `behind_edits`, and so never behind further edits.
        """
        for one, again in self._to_do(number):
            running = self._running if one.edits_on else replace(self._running, between=kept)
            with self._clock.phase(PHASE):
                end = one.at_end(running, number, self._blocks[number], self._before[one.name])
            self._of(one, number)["end"] = end
            if not one.edits_on:
                kept()
            if again is not None:
                self._running.editor.reset()
                self._running.editor.load_state_dict(again)

    def _to_do(self, number: int) -> Iterator[tuple[MetricSet, Mapping[str, Tensor] | None]]:
        """Sets that have not seen the end of a block, with the edits that the next one wants."""
        todo = [
            one
            for one in self._sets
            if _measures(one, number) and "end" not in self._of(one, number)
        ]
        for place, one in enumerate(todo):
            again = one.edits_on and place < len(todo) - 1
            yield one, self._running.editor.state_dict() if again else None

    def results(self) -> dict[str, Any]:
        """All that was found, as plain values by set; nothing where none was asked for."""
        return {
            one.name: {"before": self._before[one.name], "blocks": [*self.found[one.name].values()]}
            for one in self._sets
        }

    def _of(self, one: MetricSet, number: int) -> dict[str, Any]:
        return self.found[one.name].setdefault(str(number), {"stages": {}})


def summarise(
    cell: Cell, rows: Sequence[SampleRow], measured: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The summaries of all sets, from what they found alone."""
    return {
        name: get_set(name).summary(cell, rows, Found(before=one["before"], blocks=one["blocks"]))
        for name, one in measured.items()
    }


def _measures(one: MetricSet, number: int) -> bool:
    return one.most_blocks is None or number < one.most_blocks
