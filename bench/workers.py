"""Jobs to worker processes, one thread each; one worker runs in this process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from bench.console import warn
from bench.jobs import Job
from bench.results import ResultStore
from bench.worker import Finished, Worker

_of_this_process: list[Worker] = []  # the one worker, when this process is a pool's


def available_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(jobs: Sequence[Job], *, directory: Path, processes: int) -> Iterator[Finished]:
    """Run jobs and yield each as it finishes; long cells start first, so that workers end together.

    Raises:
        OSError: a record cannot be written, or a worker process was killed.
    """
    ordered = sorted(jobs, key=lambda job: job.size, reverse=True)
    if processes == 1:
        worker = _single_threaded(directory)
        yield from map(worker.run, ordered)
        return
    pool = ProcessPoolExecutor(
        min(processes, len(jobs)),
        mp_context=get_context("spawn"),  # forking a process that holds torch threads can hang
        initializer=_start,
        initargs=(directory,),
    )
    try:
        futures: list[Future[Finished]] = [pool.submit(_run, job) for job in ordered]
        for future in as_completed(futures):
            yield future.result()
    except KeyboardInterrupt:
        warn("interrupted: the cells that are running are finished first.")
        raise
    except BrokenProcessPool as error:
        raise OSError(
            "A worker process was killed (out of memory?); finished cells are kept, "
            "and the same command continues."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _single_threaded(directory: Path) -> Worker:
    """A worker whose arithmetic does not depend on how many cores there are."""
    import torch

    torch.set_num_threads(1)
    return Worker(ResultStore(directory))


def _start(directory: Path) -> None:
    """Leave Ctrl-C to the parent, which lets running cells end and keeps their records."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _of_this_process[:] = [_single_threaded(directory)]


def _run(job: Job) -> Finished:
    (worker,) = _of_this_process
    return worker.run(job)
