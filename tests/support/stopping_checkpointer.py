"""A checkpointer for tests that requests a stop by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.core.progress import StopFlag
from bench.evaluation.checkpointing import Checkpoint, Checkpointer
from bench.store.running import CheckpointFile


def checkpoint_file(directory: Path) -> CheckpointFile:
    return CheckpointFile(directory=directory, key="a" * 64, numerics={"machine": 1})


class StoppingCheckpointer(Checkpointer):
    """Stops after a number of edits."""

    def __init__(self, file: CheckpointFile, after: int) -> None:
        self.stop = StopFlag()
        super().__init__(file, stop=self.stop)
        self._left = after

    def after_edit(self, checkpoint: Callable[[], Checkpoint], edits: int = 1) -> None:
        self._left -= 1
        if self._left == 0:
            self.stop.request_stop()
        super().after_edit(checkpoint, edits)
