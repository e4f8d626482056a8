"""A cell's stream of edits while it is run: how far it has come, and how it goes on from there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.core.provenance import Clock
from bench.evaluation.checkpoint_answers import AskedSoFar
from bench.evaluation.checkpointing import Checkpoint, Keeper
from bench.evaluation.health import BlockHealth
from bench.evaluation.measuring import Measuring
from bench.evaluation.metrics import SampleRow
from editors.base import Editor


class Stream:
    """What finished blocks gave, and what is done of the present one."""

    def __init__(
        self, editor: Editor[Any], clock: Clock, keeper: Keeper, measuring: Measuring
    ) -> None:
        self._editor = editor
        self._clock = clock
        self._keeper = keeper
        self._measuring = measuring
        self.block = 0  # number of the present one
        self.seconds: list[float] = []  # of its edits
        self.rows: list[SampleRow] = []
        self.health: list[BlockHealth] = []
        self.asked = AskedSoFar(self.keep)

    def resume(self) -> None:
        """Go on from what an earlier run kept, if it did; the editor holds no edit yet."""
        kept = self._keeper.resume()
        if kept is None or not restored(self._editor, kept, self._keeper):
            return
        progress = kept.progress
        self.block, self.seconds = progress["block"], progress["seconds"]
        self.rows = progress["rows"]
        self.health = [BlockHealth(**one) for one in progress["health"]]
        self.asked.begin(progress["answers"])
        self._measuring.resume(progress.get("measured", {}))
        self._clock.seconds = dict(progress["phases"])
        self._keeper.go_on_from(len(self.rows) + len(self.seconds))

    def keep(self) -> None:
        """Something was asked; the editor holds the edits of `seconds` and no others."""
        self._keeper.behind_batch(self._checkpoint)

    def edit_is_made(self, seconds: float) -> None:
        """Count one more edit of the present block."""
        self.seconds.append(seconds)
        self._keeper.behind_edit(self._checkpoint)

    def block_is_done(self, health: BlockHealth, rows: Sequence[SampleRow]) -> None:
        """Go on to the next block; the editor holds no edit."""
        self.health.append(health)
        self.rows += rows
        self.block += 1
        self.seconds = []
        self.asked.begin()
        self._keeper.behind_batch(self._checkpoint)

    def _checkpoint(self) -> Checkpoint:
        progress = {
            "block": self.block,
            "seconds": self.seconds,
            "rows": self.rows,
            "health": [one.to_dict() for one in self.health],
            "answers": self.asked.to_dict(),
            "measured": self._measuring.found,
            "phases": self._clock.so_far(),
        }
        return Checkpoint(progress=progress, state=self._editor.state_dict())


def restored(editor: Editor[Any], kept: Checkpoint, keeper: Keeper) -> bool:
    """Put the edits of a checkpoint in place; one that the editor cannot read is set aside."""
    try:
        editor.load_state_dict(kept.state)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        editor.reset()
        keeper.refuse(f"cannot be read by its editor ({type(error).__name__}: {error})")
        return False
    return True
