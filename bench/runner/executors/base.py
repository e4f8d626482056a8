"""The interface of what runs cells: jobs and a directory of records in, finished cells out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.config import DEFAULT_OPTIONS, RunOptions

if TYPE_CHECKING:
    from bench.core.progress import StopFlag
    from bench.evaluation.jobs import Job
    from bench.runner.worker import Finished


class Executor(ABC):
    """Runs jobs through an engine that decides which process takes which.

    Records are written by whoever ran the cell, to a directory that all processes see. Nothing else
    comes back, so every engine gives the same records.
    """

    @abstractmethod
    def run(
        self,
        jobs: Sequence[Job],
        directory: Path,
        *,
        options: RunOptions = DEFAULT_OPTIONS,
        stop: StopFlag | None = None,
    ) -> Generator[Finished, None, None]:
        """Run jobs and yield each as it finishes; each is yielded once.

        A cell that another run holds is not waited for: its outcome is `elsewhere`.

        Args:
            jobs: in the order in which they are started.
            directory: of the records; it exists.
            options: how workers run them.
            stop: requests an end before all is done.

        Raises:
            OSError: a record cannot be written, or the engine stopped before all was done.
            StoppedEarly: a stop was requested; what was begun is checkpointed.
        """

    def submit(
        self, jobs: Sequence[Job], directory: Path, *, options: RunOptions = DEFAULT_OPTIONS
    ) -> list[str]:
        """Queue jobs and return their ids at once; only an engine with a queue can.

        Raises:
            ValueError: the engine refuses an option, or has no queue.
            OSError: it takes no job.
        """
        raise ValueError("Only --executor slurm takes --detach.")


def require(module: str, *, extra: str) -> None:
    """Refuse an engine whose library is not installed.

    Raises:
        ValueError: it is missing; the sentence names the extra that has it.
    """
    if find_spec(module) is None:
        raise ValueError(
            f"--executor {extra} needs {module}, which is not installed: pip install '.[{extra}]' "
            "adds it."
        )
