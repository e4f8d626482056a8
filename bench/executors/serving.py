"""What a process does that serves an engine: it keeps one worker, with all that this has loaded."""

from __future__ import annotations

import os
import platform
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.jobs import Job
    from bench.worker import Finished, Worker

# Seconds for which a cell is asked for again that a killed process may have held: its claim is
# good for a while after its last sign of life.
PATIENCE = 150.0
_PAUSE = 1.0

_kept: dict[Site, Worker] = {}  # at most one: a process has one working directory


@dataclass(frozen=True, kw_only=True)
class Site:
    """Two directories that every process must see under the same name; both are absolute."""

    records: Path
    working: Path  # where relative paths of inputs start

    def enter(self) -> None:
        """Make this the process's site.

        Raises:
            FileNotFoundError: one of the directories is not on this machine.
        """
        for directory, what in ((self.records, "records"), (self.working, "inputs")):
            if not directory.is_dir():
                raise FileNotFoundError(
                    f"The directory of {what}, {directory}, does not exist on {platform.node()}; "
                    "it must be one that all machines see under this name."
                )
        os.chdir(self.working)


def site_of(directory: Path) -> Site:
    """The site of a run whose records are in a directory."""
    return Site(records=directory.absolute(), working=Path.cwd())


def single_threaded(directory: Path) -> Worker:
    """A worker whose arithmetic does not depend on how many cores there are."""
    import torch

    from bench.results import ResultStore
    from bench.worker import Worker

    torch.set_num_threads(1)
    return Worker(ResultStore(directory))


def leave_interrupts() -> None:
    """Leave Ctrl-C to the parent, which lets running cells end and keeps their records."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def worker_at(site: Site) -> Worker:
    """The worker of this process, with what it has loaded for earlier cells."""
    if site not in _kept:
        site.enter()
        _kept.clear()
        _kept[site] = single_threaded(site.records)
    return _kept[site]


def run_patiently(worker: Worker, job: Job, patience: float = PATIENCE) -> Finished:
    """Run a job; one that is held elsewhere is asked for again until it has been for `patience`."""
    end = time.monotonic() + patience
    finished = worker.run(job)
    while finished.outcome == "elsewhere" and time.monotonic() < end:
        time.sleep(_PAUSE)
        finished = worker.run(job)
    return finished
