"""Cells in processes of this machine, one thread each; one worker runs in this process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from bench.console import warn
from bench.executors.base import Executor, largest_first
from bench.executors.losses import lost
from bench.executors.serving import (
    Site,
    leave_interrupts,
    run_patiently,
    single_threaded,
    site_of,
    worker_at,
)
from bench.jobs import Job

if TYPE_CHECKING:
    from bench.worker import Finished

ATTEMPTS = 2  # of a cell whose process is killed


def available_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalExecutor(Executor):
    """Worker processes of this machine."""

    def __init__(self, processes: int | None = None) -> None:
        """Take so many processes; by default one for each core, or one on a GPU."""
        self._processes = processes

    def run(self, jobs: Sequence[Job], directory: Path) -> Iterator[Finished]:
        """See the base class."""
        if not jobs:
            return
        ordered = largest_first(jobs)
        default = available_cores() if jobs[0].device == "cpu" else 1
        processes = min(self._processes or default, len(jobs))
        if processes == 1:
            worker = single_threaded(directory)
            yield from map(worker.run, ordered)
            return
        lanes = _Lanes(site_of(directory))
        pool = ThreadPoolExecutor(processes, thread_name_prefix="lane")
        try:
            futures = [pool.submit(lanes.run, job) for job in ordered]
            for future in as_completed(futures):
                yield future.result()
        except KeyboardInterrupt:
            warn("interrupted: the cells that are running are finished first.")
            raise
        finally:
            lanes.ending = True
            pool.shutdown(wait=True, cancel_futures=True)
            lanes.close()


class _Lanes:
    """A process for each thread that asks: one that dies takes no other cell with it."""

    def __init__(self, site: Site) -> None:
        self.ending = False
        self._site = site
        self._of_thread: dict[int, ProcessPoolExecutor] = {}

    def run(self, job: Job) -> Finished:
        """Run a job in the thread's process, and in a fresh one where that was killed.

        Raises:
            OSError: a record cannot be written.
        """
        start = time.perf_counter()
        for attempt in range(ATTEMPTS):
            try:
                return self._lane().submit(_run, job, self._site, again=attempt > 0).result()
            except BrokenProcessPool:
                self._of_thread.pop(threading.get_ident()).shutdown()
                if self.ending:
                    raise
        return lost(job, self._site.records, time.perf_counter() - start)

    def close(self) -> None:
        """End all processes."""
        for lane in self._of_thread.values():
            lane.shutdown(wait=True, cancel_futures=True)

    def _lane(self) -> ProcessPoolExecutor:
        thread = threading.get_ident()
        if thread not in self._of_thread:
            self._of_thread[thread] = ProcessPoolExecutor(
                1,
                mp_context=get_context("spawn"),  # a fork of a process with torch threads can hang
                initializer=leave_interrupts,
            )
        return self._of_thread[thread]


def _run(job: Job, site: Site, *, again: bool) -> Finished:
    """Run a job in this process; `again` waits for the claim of the process that was killed."""
    worker = worker_at(site)
    return run_patiently(worker, job) if again else worker.run(job)
