"""When the work on a cell is kept, and where it may be ended: behind every edit and every batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from safetensors import SafetensorError
from torch import Tensor

from bench.core.console import warn
from bench.core.run_options import USUAL, Conduct
from bench.core.stopping import StopFlag, StoppedEarly

_SHARE = 20  # ours: writing checkpoints takes at most the 20th part of the time


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """How far a cell has come, and the edits that are in place there."""

    progress: Mapping[str, Any]  # JSON values
    state: Mapping[str, Tensor]  # `Editor.state_dict`


class Made(NamedTuple):
    """Edits of a cell, so far."""

    edits: int = 0
    earlier: int = 0  # of these, by an earlier run


class Storage(Protocol):
    """Where the one checkpoint of a cell is stored, see `bench.store.checkpoints`."""

    @property
    def path(self) -> Path:
        """Of the file."""

    def read(self) -> Checkpoint | None:
        """The checkpoint, None where none can be continued."""

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint."""

    def set_aside(self, reason: str) -> None:
        """Rename the file, so that it is not read again."""

    def discard(self) -> None:
        """Remove the checkpoint."""


class Keeper:
    """Keeps the progress of one cell. Without a file nothing is kept."""

    def __init__(
        self,
        file: Storage | None = None,
        conduct: Conduct = USUAL,
        stop: StopFlag | None = None,
    ) -> None:
        self._file = file
        self._conduct = conduct
        self._stop = stop or StopFlag()
        self._edits = 0  # since the last checkpoint
        self._made = Made()
        self._due = time.monotonic() + conduct.checkpoint_seconds

    def resume(self) -> Checkpoint | None:
        """What an earlier run of the cell has kept."""
        return None if self._file is None else self._file.read()

    @property
    def made(self) -> Made:
        """How many edits of the cell there are."""
        return self._made

    def go_on_from(self, edits: int) -> None:
        """So many edits of an earlier run are there."""
        self._made = Made(edits, earlier=edits)

    def behind_edit(self, made: Callable[[], Checkpoint]) -> None:
        """Keep what `made` gives where it is time to.

        Raises:
            StoppedEarly: the end was asked for; all is kept.
        """
        self._edits += 1
        self._made = self._made._replace(edits=self._made.edits + 1)
        self.behind_batch(made)

    def behind_batch(self, made: Callable[[], Checkpoint]) -> None:
        """As `behind_edit`, behind something else."""
        if self._stop.stop_requested() or self._is_due():
            self._keep(made)
        self.check()

    def check(self) -> None:
        """Where there is nothing new to be kept.

        Raises:
            StoppedEarly: the end was asked for.
        """
        if self._stop.stop_requested():
            raise StoppedEarly

    def refuse(self, reason: str) -> None:
        """Set aside what was kept, if anything was."""
        if self._file is not None and self._file.path.exists():
            self._file.set_aside(reason)

    def discard(self) -> None:
        """The cell has its record."""
        if self._file is not None:
            self._file.discard()

    def _is_due(self) -> bool:
        most = self._conduct.checkpoint_edits
        return time.monotonic() >= self._due or (most is not None and self._edits >= most)

    def _keep(self, made: Callable[[], Checkpoint]) -> None:
        """Write a checkpoint; where none can be written, the work goes on without."""
        if self._file is None:
            return
        start = time.monotonic()
        try:
            self._file.write(made())
        except (OSError, SafetensorError) as error:
            warn(f"No checkpoint was written to {self._file.path}: {error}.")
        now = time.monotonic()
        self._due = now + max(self._conduct.checkpoint_seconds, _SHARE * (now - start))
        self._edits = 0
