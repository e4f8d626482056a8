"""Jobs to worker processes, one thread each; one worker runs in this process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path

from bench.arithmetic import fix_arithmetic, fixed_arithmetic
from bench.conduct import USUAL, Conduct
from bench.console import warn
from bench.jobs import Job
from bench.results import ResultStore
from bench.stopping_runs import StopFlag, StoppedEarly, WorkerSignals
from bench.worker import Finished, Worker

# The one worker with what signals do to it, when this process is a pool's.
_of_this_process: list[tuple[Worker, WorkerSignals]] = []


def available_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(
    jobs: Sequence[Job],
    *,
    directory: Path,
    processes: int,
    conduct: Conduct = USUAL,
    stop: StopFlag | None = None,
) -> Iterator[Finished]:
    """Run jobs and yield each as it finishes; long cells start first, so that workers end together.

    Raises:
        OSError: a record cannot be written, or a worker process was killed.
        StoppedEarly: `stop` was asked for, and all workers have stopped.
    """
    ordered = sorted(jobs, key=lambda job: job.size, reverse=True)
    stop = stop or StopFlag()
    if processes == 1:
        with fixed_arithmetic(wanted=conduct.deterministic):
            worker = _single_threaded(directory, conduct, stop)
            yield from map(worker.run, ordered)
        return
    context = get_context("spawn")  # forking a process that holds torch threads can hang
    stopping = context.Event()
    stop.passed_on(stopping.set)
    pool = ProcessPoolExecutor(
        min(processes, len(jobs)),
        mp_context=context,
        initializer=_start,
        initargs=(directory, conduct, stopping),
    )
    try:
        futures: list[Future[Finished]] = [pool.submit(_run, job) for job in ordered]
        yield from _finished(futures)
    except KeyboardInterrupt:
        warn("interrupted: workers stop behind their present edit or batch.")
        stop.request_stop()
        raise
    except BrokenProcessPool as error:
        if stop.stop_requested():
            raise StoppedEarly from None
        raise OSError(
            "A worker process was killed (out of memory?); finished cells are kept, "
            "and the same command continues."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _finished(futures: Sequence[Future[Finished]]) -> Iterator[Finished]:
    """Each as it finishes; those that stopped are waited for too."""
    stopped = False
    for future in as_completed(futures):
        if isinstance(future.exception(), StoppedEarly):
            stopped = True
        else:
            yield future.result()
    if stopped:
        raise StoppedEarly


def _single_threaded(directory: Path, conduct: Conduct, stop: StopFlag) -> Worker:
    """A worker whose arithmetic does not depend on how many cores there are."""
    import torch

    torch.set_num_threads(1)
    return Worker(ResultStore(directory), conduct, stop)


def _start(directory: Path, conduct: Conduct, stopping: Event) -> None:
    """Make the worker of this process, which stops when the parent says so."""
    stop = StopFlag(stopping.is_set)
    signals = WorkerSignals(stop)
    if conduct.deterministic:
        fix_arithmetic()
    _of_this_process[:] = [(_single_threaded(directory, conduct, stop), signals)]


def _run(job: Job) -> Finished:
    ((worker, signals),) = _of_this_process
    with signals.busy():
        return worker.run(job)
