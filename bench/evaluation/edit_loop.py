"""Single edits one after another, where nothing is asked between them, and how they are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.core.provenance import Clock
from bench.evaluation.checkpointing import Checkpoint, Keeper
from bench.evaluation.edit_cache import saved_seconds
from bench.evaluation.streams import restored
from editors.base import Editor, EditRequest


class EditsMade:
    """The edits of an editor that held none, those of an earlier run among them."""

    def __init__(
        self,
        editor: Editor[Any],
        clock: Clock,
        keeper: Keeper,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """`facts` are JSON values that are kept beside the edits."""
        self._editor = editor
        self._clock = clock
        self._keeper = keeper
        self._facts = dict(facts or {})
        self._kept = 0  # edits that a checkpoint holds
        self.seconds: list[float] = []  # of each
        keeper.go_on_from(0)  # a timing cell makes its edits twice

    def resume(self, kept: Checkpoint | None) -> None:
        """Go on from a checkpoint of this class, if there is one."""
        if kept is not None and restored(self._editor, kept, self._keeper):
            self.seconds = list(kept.progress["made"])
            self._kept = len(self.seconds)
            self._clock.add("edit", sum(self.seconds))
            self._keeper.go_on_from(self._kept)

    def make(self, requests: Sequence[EditRequest]) -> None:
        """Make those of the requests that are not made yet.

        Raises:
            StoppedEarly: the keeper was asked to stop.
        """
        saved_seconds(self._editor)  # of what was found for another purpose
        for request in requests[len(self.seconds) :]:
            seconds = self._clock.timed("edit", self._editor.edit, [request])
            saved = saved_seconds(self._editor)
            self._clock.add("edit", saved)
            self.seconds.append(seconds + saved)
            self._keeper.behind_edit(self._checkpoint)

    def keep(self) -> None:
        """Keep them behind something else, and stop there where that was asked for.

        Raises:
            StoppedEarly: as above.
        """
        if self._kept == len(self.seconds):
            self._keeper.check()
        else:
            self._keeper.behind_batch(self._checkpoint)

    def _checkpoint(self) -> Checkpoint:
        self._kept = len(self.seconds)
        progress = {**self._facts, "made": self.seconds}
        return Checkpoint(progress=progress, state=self._editor.state_dict())
