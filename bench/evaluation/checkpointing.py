"""Checkpoints: when the progress of a cell is stored, what is stored, and how it continues.

A `Checkpointer` is called after every edit and every batch; there it may store the progress, and
there a run may end early. Two kinds of work have progress: a `BlockStream`, the blocks of an
editing cell, and an `EditSequence`, edits without questions between them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from safetensors import SafetensorError

from bench.core.config import DEFAULT_OPTIONS, RunOptions
from bench.core.console import warn
from bench.core.progress import StopFlag, StoppedEarly
from bench.evaluation.caches import saved_seconds
from bench.evaluation.probing import BlockAnswers

if TYPE_CHECKING:
    from torch import Tensor

    from bench.core.numerics import Clock
    from bench.evaluation.metric_sets import Measuring
    from bench.evaluation.metrics import SampleRow
    from bench.evaluation.probing import BlockHealth
    from editors.base import Editor, EditRequest

_SHARE = 20  # ours: writing checkpoints takes at most the 20th part of the time


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """How far a cell has come, and the edits that are in place there."""

    progress: Mapping[str, Any]  # JSON values
    state: Mapping[str, Tensor]  # `Editor.state_dict`


class EditCount(NamedTuple):
    """Edits of a cell, so far."""

    edits: int = 0
    earlier: int = 0  # of these, by an earlier run


class Storage(Protocol):
    """Where the one checkpoint of a cell is, see `bench.store.running.CheckpointFile`."""

    @property
    def path(self) -> Path: ...

    def read(self) -> Checkpoint | None: ...

    def write(self, checkpoint: Checkpoint) -> None: ...

    def set_aside(self, reason: str) -> None: ...

    def discard(self) -> None: ...


class Checkpointer:
    """Stores the progress of one cell, and ends it early on request. Without a file it stores none.

    Checkpoints come as functions, which are called where one is due.
    """

    def __init__(
        self,
        file: Storage | None = None,
        conduct: RunOptions = DEFAULT_OPTIONS,
        stop: StopFlag | None = None,
    ) -> None:
        self._file, self._conduct, self._stop = file, conduct, stop or StopFlag()
        self._edits = 0  # since the last checkpoint
        self.count = EditCount()  # of the cell
        self._due = time.monotonic() + conduct.checkpoint_seconds

    def read(self) -> Checkpoint | None:
        """The checkpoint of an earlier run of the cell."""
        return None if self._file is None else self._file.read()

    def continue_from(self, edits: int) -> None:
        """Count so many edits of an earlier run."""
        self.count = EditCount(edits, earlier=edits)

    def after_edit(self, checkpoint: Callable[[], Checkpoint], edits: int = 1) -> None:
        """Count edits, and store a checkpoint where one is due; StoppedEarly on request."""
        self._edits += edits
        self.count = self.count._replace(edits=self.count.edits + edits)
        self.after_batch(checkpoint)

    def after_batch(self, checkpoint: Callable[[], Checkpoint]) -> None:
        """As `after_edit`, after any other work."""
        if self._stop.stop_requested() or self._is_due():
            self._store(checkpoint)
        self.check()

    def check(self) -> None:
        """Raise StoppedEarly on request, where there is nothing new to store."""
        if self._stop.stop_requested():
            raise StoppedEarly

    def set_aside(self, reason: str) -> None:
        """Set aside the stored checkpoint, if there is one."""
        if self._file is not None and self._file.path.exists():
            self._file.set_aside(reason)

    def discard(self) -> None:
        """Remove the checkpoint: the cell has its record."""
        if self._file is not None:
            self._file.discard()

    def _is_due(self) -> bool:
        most = self._conduct.checkpoint_edits
        return time.monotonic() >= self._due or (most is not None and self._edits >= most)

    def _store(self, checkpoint: Callable[[], Checkpoint]) -> None:
        """Write a checkpoint; where none can be written, the work continues without."""
        if self._file is None:
            return
        start = time.monotonic()
        try:
            self._file.write(checkpoint())
        except (OSError, SafetensorError) as error:
            warn(f"No checkpoint was written to {self._file.path}: {error}.")
        now = time.monotonic()
        self._due = now + max(self._conduct.checkpoint_seconds, _SHARE * (now - start))
        self._edits = 0


class BlockStream:
    """The blocks of an editing cell while it runs: finished ones, and the present one so far."""

    def __init__(
        self, editor: Editor[Any], clock: Clock, checkpointer: Checkpointer, measuring: Measuring
    ) -> None:
        self._editor, self._clock = editor, clock
        self._checkpointer, self._measuring = checkpointer, measuring
        self.block = 0  # number of the present one
        self.seconds: list[float] = []  # of its edits
        self.rows: list[SampleRow] = []
        self.health: list[BlockHealth] = []
        self.answers = BlockAnswers(self.after_batch)

    def resume(self) -> None:
        """Continue from the checkpoint of an earlier run, if any; the editor holds no edit yet."""
        checkpoint = self._checkpointer.read()
        if checkpoint is None or not _restore(self._editor, checkpoint, self._checkpointer):
            return
        progress = checkpoint.progress
        self.block, self.seconds = progress["block"], progress["seconds"]
        self.rows, self.health = progress["rows"], progress["health"]
        self.answers = BlockAnswers(self.after_batch, progress["answers"])
        self._measuring.resume(progress.get("measured", {}))
        self._clock.seconds = dict(progress["phases"])
        self._checkpointer.continue_from(len(self.rows) + len(self.seconds))

    def after_step(self, seconds: Sequence[float]) -> None:
        """Count the edits of one more step of the present block."""
        self.seconds += seconds
        self._checkpointer.after_edit(self._checkpoint, len(seconds))

    def after_batch(self) -> None:
        """Store the answers so far; the editor holds the edits of `seconds` and no others."""
        self._checkpointer.after_batch(self._checkpoint)

    def after_block(self, health: BlockHealth, rows: Sequence[SampleRow]) -> None:
        """Begin the next block; the editor holds no edit."""
        self.health.append(health)
        self.rows += rows
        self.block += 1
        self.seconds = []
        self.answers = BlockAnswers(self.after_batch)
        self._checkpointer.after_batch(self._checkpoint)

    def _checkpoint(self) -> Checkpoint:
        progress = {
            "block": self.block,
            "seconds": self.seconds,
            "rows": self.rows,
            "health": self.health,
            "answers": self.answers.to_dict(),
            "measured": self._measuring.results_so_far,
            "phases": self._clock.so_far(),
        }
        return Checkpoint(progress=progress, state=self._editor.state_dict())


class EditSequence:
    """Edits one after another, without questions between them, of an editor that held none."""

    def __init__(
        self,
        editor: Editor[Any],
        clock: Clock,
        checkpointer: Checkpointer,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """`facts` are JSON values to store beside the edits."""
        self._editor, self._clock, self._checkpointer = editor, clock, checkpointer
        self._facts = dict(facts or {})
        self._stored = 0  # edits that a checkpoint holds
        self.seconds: list[float] = []  # of each
        checkpointer.continue_from(0)  # a timing cell edits twice

    def resume(self, checkpoint: Checkpoint | None) -> None:
        """Continue from a checkpoint of this class, if there is one."""
        if checkpoint is not None and _restore(self._editor, checkpoint, self._checkpointer):
            self.seconds = list(checkpoint.progress["made"])
            self._stored = len(self.seconds)
            self._clock.add("edit", sum(self.seconds))
            self._checkpointer.continue_from(self._stored)

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Apply those of the requests that are not applied yet; StoppedEarly on request."""
        saved_seconds(self._editor)  # of what other work has read
        for request in requests[len(self.seconds) :]:
            seconds = self._clock.timed("edit", self._editor.edit, [request])
            saved = saved_seconds(self._editor)
            self._clock.add("edit", saved)
            self.seconds.append(seconds + saved)
            self._checkpointer.after_edit(self._checkpoint)

    def after_batch(self) -> None:
        """Store the edits after other work, where no checkpoint holds them; may stop as well."""
        if self._stored == len(self.seconds):
            self._checkpointer.check()
        else:
            self._checkpointer.after_batch(self._checkpoint)

    def _checkpoint(self) -> Checkpoint:
        self._stored = len(self.seconds)
        progress = {**self._facts, "made": self.seconds}
        return Checkpoint(progress=progress, state=self._editor.state_dict())


def _restore(editor: Editor[Any], checkpoint: Checkpoint, checkpointer: Checkpointer) -> bool:
    """Put the edits of a checkpoint in place; one that the editor cannot read is set aside."""
    try:
        editor.load_state_dict(checkpoint.state)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        editor.reset()
        checkpointer.set_aside(f"cannot be read by its editor ({type(error).__name__}: {error})")
        return False
    return True
