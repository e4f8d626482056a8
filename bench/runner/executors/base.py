"""The interface of what runs cells: jobs and a site in, finished cells out."""

from __future__ import annotations

import os
import platform
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from bench.core.config import DEFAULT_OPTIONS, RunOptions
from bench.core.progress import StopFlag
from bench.datasets import OwnFile, run_files
from bench.evaluation.jobs import Job

# Run now; failed, now or earlier; complete already; being run by another process that may be alive.
Outcome = Literal["done", "failed", "found", "elsewhere"]
PAUSE = 1.0  # seconds between two looks at the file system


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What became of a cell, for the run; the record itself is in the store."""

    key: str
    name: str
    outcome: Outcome
    error: str | None = None  # one line where the cell failed
    edits: int = 0
    earlier: int = 0  # of the edits, by an earlier run
    seconds: float = 0.0


FinishedCells = Generator[Finished, None, None]


@dataclass(frozen=True, kw_only=True)
class Site:
    """What every process of a run must know; its paths are the same everywhere."""

    records: Path  # as the user wrote it, so that messages name it so; absolute elsewhere
    working: Path  # absolute; where relative paths start
    options: RunOptions = DEFAULT_OPTIONS
    own: tuple[OwnFile, ...] = ()  # editors and data sets of the user's
    stopping: Path | None = None  # a file that asks all to stop, once it exists

    def enter(self) -> None:
        """Make this the process's site."""
        for directory, what in ((self.records, "records"), (self.working, "inputs")):
            if not directory.is_dir():
                raise FileNotFoundError(
                    f"The directory of {what}, {directory}, does not exist on {platform.node()}; "
                    "all machines must see it under this name."
                )
        os.chdir(self.working)
        try:
            run_files(self.own)
        except ValueError as error:
            raise OSError(str(error)) from error

    def stop_flag(self) -> StopFlag:
        """A flag that the file raises too; it is looked for once a second."""
        path, looked = self.stopping, 0.0

        def exists() -> bool:
            nonlocal looked
            now = time.monotonic()
            if path is None or now - looked < PAUSE:
                return False
            looked = now
            return path.exists()

        return StopFlag(exists)


class Executor(ABC):
    """Runs jobs through an engine that decides which process takes which.

    Records are written by whoever ran the cell, to a directory that all processes see. Nothing else
    comes back, so every engine gives the same records.
    """

    @abstractmethod
    def run(
        self, jobs: Sequence[Job], site: Site, stop: StopFlag
    ) -> Generator[Finished, None, None]:
        """Run jobs in this order and yield each, once, as it finishes.

        A cell that another run holds is not waited for: its outcome is `elsewhere`.

        Raises:
            OSError: a record cannot be written, or the engine stopped before all was done.
            StoppedEarly: a stop was requested; what was begun is checkpointed.
        """

    def submit(self, jobs: Sequence[Job], site: Site) -> list[str]:
        """Queue jobs and return their ids at once; only an engine with a queue can.

        Raises:
            ValueError: the engine refuses an option, or has no queue.
            OSError: it takes no job.
        """
        raise ValueError("Only --executor slurm takes --detach.")


def require(module: str, *, extra: str) -> None:
    """Refuse an engine whose library is not installed; `extra` is what installs it."""
    if find_spec(module) is None:
        raise ValueError(
            f"--executor {extra} needs {module}, which is not installed: pip install '.[{extra}]' "
            "adds it."
        )
