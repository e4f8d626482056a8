"""Cells that other processes are computing: waited for, and taken over where these are gone."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING

from bench.core.console import warn
from bench.core.run_options import USUAL, Conduct
from bench.core.stopping import StopFlag, StoppedEarly
from bench.evaluation.jobs import Job
from bench.runner.worker import Finished, outcome_in
from bench.store.leases import Leases
from bench.store.results import ResultStore

if TYPE_CHECKING:
    from bench.runner.executors.base import Executor

EVERY = 2.0  # seconds between two looks at the store (ours)


def until_done(
    executor: Executor,
    jobs: Sequence[Job],
    store: ResultStore,
    *,
    conduct: Conduct = USUAL,
    stop: StopFlag | None = None,
    every: float = EVERY,
) -> Iterator[Finished]:
    """What became of each of some jobs, whichever process computed it.

    Cells that others hold are waited for, and run here where these gave them back or are gone.

    Args:
        executor: runs what is free.
        jobs: each is told once.
        store: where the records are.
        conduct: how workers go about them.
        stop: asks for an end before all is done.
        every: seconds between two looks at the store.

    Raises:
        OSError: a record cannot be read or written, or the engine stopped before all was done.
        StoppedEarly: `stop` was asked for.
    """
    stop, left = stop or StopFlag(), list(jobs)
    while left:
        elsewhere = set()
        for one in executor.run(left, store.directory, conduct=conduct, stop=stop):
            if one.outcome == "elsewhere":
                elsewhere.add(one.key)
            else:
                yield one
        left = [job for job in left if job.cell.key() in elsewhere]
        if left:
            _say(left, store)
            left = yield from _until_free(left, store, stop, every)


def _until_free(
    jobs: Sequence[Job], store: ResultStore, stop: StopFlag, every: float
) -> Generator[Finished, None, list[Job]]:
    """Yield what others finish; return the jobs that are left once one of them can be taken."""
    leases, left = Leases(store.leases), list(jobs)
    while left:
        held = []
        for job in left:
            known = outcome_in(store, job)
            if known is None:
                held.append(job)
            else:
                yield known
        left = held
        if any(_freed(job.cell.key(), leases) for job in left):
            return left
        if stop.stop_requested():
            raise StoppedEarly
        if left:
            time.sleep(every)
    return []


def _freed(key: str, leases: Leases) -> bool:
    """Whether a cell can be taken; the lease of a holder that is gone is taken away.

    Whoever has watched it for long enough does so: a fresh worker would have to watch anew.
    """
    lease = leases.acquire(key)
    if lease is None:
        return False
    lease.release()
    return True


def _say(waiting: Sequence[Job], store: ResultStore) -> None:
    leases = Leases(store.leases)
    holders = sorted({leases.holder(job.cell.key()) for job in waiting})
    cells = "1 cell is" if len(waiting) == 1 else f"{len(waiting)} cells are"
    warn(f"{cells} being computed by {', '.join(holders)}; waiting for the records.")
