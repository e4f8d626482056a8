"""The interface of what runs cells: jobs and a directory of records in, finished cells out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.jobs import Job
    from bench.worker import Finished


class Executor(ABC):
    """Runs jobs through an engine that decides which process takes which.

    Records are written by whoever ran the cell, to a directory that all processes see. Nothing else
    comes back, so every engine gives the same records.
    """

    @abstractmethod
    def run(self, jobs: Sequence[Job], directory: Path) -> Iterator[Finished]:
        """Run jobs and yield each as it finishes; each is yielded once.

        A cell that another run holds is not waited for: its outcome is `elsewhere`.

        Args:
            jobs: in any order; long cells start first, so that processes end together.
            directory: of the records; it exists.

        Raises:
            OSError: a record cannot be written, or the engine stopped before all was done.
        """


def largest_first(jobs: Sequence[Job]) -> list[Job]:
    """Jobs in the order in which they are started."""
    return sorted(jobs, key=lambda job: job.size, reverse=True)


def until_done(
    executor: Executor,
    jobs: Sequence[Job],
    directory: Path,
    wait: Callable[[Sequence[Job]], None],
) -> Iterator[Finished]:
    """Run jobs, and those again that another run held, after `wait` for that run.

    Args:
        executor: runs them.
        jobs: all are finished at the end, here or elsewhere.
        directory: of the records.
        wait: returns when one of the jobs given to it may have become free, or done.
    """
    left = list(jobs)
    while left:
        elsewhere = set()
        for one in executor.run(left, directory):
            if one.outcome == "elsewhere":
                elsewhere.add(one.key)
            else:
                yield one
        left = [job for job in left if job.cell.key() in elsewhere]
        if left:
            wait(left)


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
