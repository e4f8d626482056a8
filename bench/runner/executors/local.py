"""Cells in processes of this machine, one thread each; one worker runs in this process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.synchronize import Event

from bench.core.console import quiet_libraries, warn
from bench.core.numerics import fixed_arithmetic
from bench.core.progress import StopFlag, StoppedEarly, WorkerSignals
from bench.evaluation.context import Context
from bench.evaluation.jobs import Job
from bench.runner.executors.base import Executor, Finished, FinishedCells, Site

ATTEMPTS = 2  # of a cell whose process is killed

# What stops a process that the run has started, with what signals do to it.
_of_this_process: list[tuple[StopFlag, WorkerSignals]] = []


def available_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalExecutor(Executor):
    """Worker processes of this machine."""

    def __init__(self, processes: int | None = None, context: Context | None = None) -> None:
        """Use so many processes; by default one for each core, or one on a GPU.

        A single one is this process, with what its `context` has read already.
        """
        self._processes, self._context = processes, context

    def run(self, jobs: Sequence[Job], site: Site, stop: StopFlag) -> FinishedCells:
        if not jobs:
            return
        import torch

        from bench.runner.worker import Worker
        from bench.store.results import ResultStore

        default = available_cores() if jobs[0].device == "cpu" else 1
        processes = min(self._processes or default, len(jobs))
        if processes == 1:
            torch.set_num_threads(1)  # results must not depend on the number of cores
            store = ResultStore(site.records)
            worker = Worker(store, site.options, stop, context=self._context)
            with fixed_arithmetic(wanted=site.options.deterministic):
                yield from map(worker.run, jobs)
            return
        lanes = _Lanes(site, stop)
        pool = ThreadPoolExecutor(processes, thread_name_prefix="lane")
        try:
            yield from _finished([pool.submit(lanes.run, job) for job in jobs])
        except BaseException as error:  # nobody takes what the others would still do
            if isinstance(error, KeyboardInterrupt):
                warn("interrupted: workers stop after their present edit or batch.")
            stop.request_stop()
            raise
        finally:
            lanes.ending = True
            pool.shutdown(wait=True, cancel_futures=True)
            lanes.close()


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


class _Lanes:
    """A process for each thread: a process that is killed takes no other cell with it."""

    def __init__(self, site: Site, stop: StopFlag) -> None:
        self.ending, self._site, self._stop = False, site, stop
        # A fork of a process with torch threads can hang.
        self._context = get_context("spawn")
        self._stopping = self._context.Event()
        stop.passed_on(self._stopping.set)
        self._of_thread: dict[int, ProcessPoolExecutor] = {}

    def run(self, job: Job) -> Finished:
        """Run a job in the thread's process, and in a fresh one where that was killed."""
        from bench.runner.worker import lost

        start = time.perf_counter()
        for attempt in range(ATTEMPTS):
            try:
                return self._lane().submit(_run, job, self._site, again=attempt > 0).result()
            except BrokenProcessPool:
                self._of_thread.pop(threading.get_ident()).shutdown()
                if self.ending or self._stop.stop_requested():
                    raise StoppedEarly from None
        return lost(job, self._site.records, time.perf_counter() - start)

    def close(self) -> None:
        for lane in self._of_thread.values():
            lane.shutdown(wait=True, cancel_futures=True)

    def _lane(self) -> ProcessPoolExecutor:
        thread = threading.get_ident()
        if thread not in self._of_thread:
            self._of_thread[thread] = ProcessPoolExecutor(
                1, mp_context=self._context, initializer=_start, initargs=(self._stopping,)
            )
        return self._of_thread[thread]


def _start(stopping: Event) -> None:
    """Make this a worker process, which stops when the parent does."""
    quiet_libraries()  # a parent that is a notebook has not
    stop = StopFlag(stopping.is_set)
    _of_this_process[:] = [(stop, WorkerSignals(stop))]


def _run(job: Job, site: Site, *, again: bool) -> Finished:
    """Run a job in this process; `again` waits for the lease of the process that was killed."""
    from bench.runner.worker import run_patiently, worker_at

    ((stop, signals),) = _of_this_process
    with signals.busy():
        worker = worker_at(site, stop)
        return run_patiently(worker, job) if again else worker.run(job)
