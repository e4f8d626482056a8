"""What a process does that serves an engine: it keeps one worker, with all that this has loaded."""

from __future__ import annotations

import os
import platform
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.numerics import fix_arithmetic
from bench.core.run_options import USUAL, Conduct
from bench.core.stopping import StopFlag
from bench.datasets.plugins import OwnFile, named_files, run_files

if TYPE_CHECKING:
    from bench.evaluation.jobs import Job
    from bench.runner.worker import Finished, Worker

# Seconds for which a cell is asked for again that a killed process may have held: its lease is
# good for a while after its last sign of life.
PATIENCE = 150.0
_PAUSE = 1.0

_kept: dict[Site, Worker] = {}  # at most one: a process has one working directory


@dataclass(frozen=True, kw_only=True)
class Site:
    """What every process of a run must know; all places are absolute, and the same everywhere."""

    records: Path
    working: Path  # where relative paths of inputs start
    conduct: Conduct = USUAL
    own: tuple[OwnFile, ...] = ()  # editors and data sets of the user's
    stopping: Path | None = None  # a file that asks all for an end, when it appears

    def enter(self) -> None:
        """Make this the process's site.

        Raises:
            FileNotFoundError: one of the directories or files is not on this machine.
            OSError: own code is not what it was.
        """
        for directory, what in ((self.records, "records"), (self.working, "inputs")):
            if not directory.is_dir():
                raise FileNotFoundError(
                    f"The directory of {what}, {directory}, does not exist on {platform.node()}; "
                    "it must be one that all machines see under this name."
                )
        os.chdir(self.working)
        try:
            run_files(self.own)
        except ValueError as error:
            raise OSError(str(error)) from error

    def stop_flag(self) -> StopFlag:
        """A flag that the file raises too; the file system is asked once a second."""
        path, asked = self.stopping, 0.0

        def is_there() -> bool:
            nonlocal asked
            now = time.monotonic()
            if path is None or now - asked < _PAUSE:
                return False
            asked = now
            return path.exists()

        return StopFlag(is_there)


def site_of(directory: Path, conduct: Conduct = USUAL) -> Site:
    """The site of a run whose records are in a directory."""
    return Site(
        records=directory.absolute(), working=Path.cwd(), conduct=conduct, own=named_files()
    )


def single_threaded(
    directory: Path, conduct: Conduct = USUAL, stop: StopFlag | None = None
) -> Worker:
    """A worker whose arithmetic does not depend on how many cores there are."""
    import torch

    from bench.runner.worker import Worker
    from bench.store.results import ResultStore

    torch.set_num_threads(1)
    return Worker(ResultStore(directory), conduct, stop)


def leave_interrupts() -> None:
    """Leave Ctrl-C to the parent, which lets running cells end and keeps their records."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def worker_at(site: Site, stop: StopFlag | None = None) -> Worker:
    """The worker of this process, with what it has loaded for earlier cells.

    Args:
        site: of the run.
        stop: what the process itself is stopped by; by default the site's file alone.
    """
    if site not in _kept:
        site.enter()
        if site.conduct.deterministic:
            fix_arithmetic()
        _kept.clear()
        _kept[site] = single_threaded(site.records, site.conduct, stop or site.stop_flag())
    return _kept[site]


def run_patiently(worker: Worker, job: Job, patience: float = PATIENCE) -> Finished:
    """Run a job; one that is held elsewhere is asked for again until it has been for `patience`."""
    end = time.monotonic() + patience
    finished = worker.run(job)
    while finished.outcome == "elsewhere" and time.monotonic() < end:
        time.sleep(_PAUSE)
        finished = worker.run(job)
    return finished
