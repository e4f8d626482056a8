"""Cells that other processes are computing: waited for, and taken over where these are gone."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from bench.cell_claims import CellClaims
from bench.console import warn
from bench.jobs import Job
from bench.results import ResultStore
from bench.worker import Finished, Worker

EVERY = 2.0  # seconds between two looks at the store (ours)


def completed(
    jobs: Sequence[Job], finished: Iterable[Finished], store: ResultStore
) -> Iterator[Finished]:
    """What became of each of some jobs, those at last that other processes were computing.

    Args:
        jobs: all that an executor was given.
        finished: what it yields; outcomes `elsewhere` are kept back until they are settled.
        store: where the records are.
    """
    by_key = {job.cell.key(): job for job in jobs}
    elsewhere = []
    for one in finished:
        if one.outcome == "elsewhere":
            elsewhere.append(by_key[one.key])
        else:
            yield one
    yield from remaining(elsewhere, store)


def remaining(
    jobs: Sequence[Job],
    store: ResultStore,
    *,
    worker: Worker | None = None,
    every: float = EVERY,
) -> Iterator[Finished]:
    """Wait for cells that other processes have claimed; yield each as it is found, or run here.

    A cell is run in this process, one after the other, once its claim is released without a record
    or becomes stale.

    Raises:
        OSError: a record cannot be read or written.
    """
    waiting = list(jobs)
    if not waiting:
        return
    runner = worker if worker is not None else _single_threaded(store)
    _say(waiting, store)
    while waiting:
        still = []
        for job in waiting:
            one = runner.run(job)
            if one.outcome == "elsewhere":
                still.append(job)
            else:
                yield one
        waiting = still
        if waiting:
            time.sleep(every)


def _single_threaded(store: ResultStore) -> Worker:
    """As the workers of a run are: arithmetic that does not depend on how many cores there are."""
    import torch

    torch.set_num_threads(1)
    return Worker(store)


def _say(waiting: Sequence[Job], store: ResultStore) -> None:
    claims = CellClaims(store.claims)
    holders = sorted({claims.holder(job.cell.key()) for job in waiting})
    cells = "1 cell is" if len(waiting) == 1 else f"{len(waiting)} cells are"
    warn(f"{cells} being computed by {', '.join(holders)}; waiting for the records.")
