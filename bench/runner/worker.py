"""A process that runs jobs, with all that it has loaded, and writes each record."""

from __future__ import annotations

import errno
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from bench.core.cells import CellKey
from bench.core.config import DEFAULT_OPTIONS, RunOptions
from bench.core.files import UnwritableError
from bench.core.numerics import fix_arithmetic, now, provenance
from bench.core.progress import StopFlag
from bench.evaluation.caches import numerics
from bench.evaluation.checkpointing import Checkpointer
from bench.evaluation.context import Context
from bench.evaluation.driver import run_cell
from bench.evaluation.jobs import Job
from bench.runner.executors.base import PAUSE, Finished, Outcome, Site
from bench.store import results
from bench.store.results import Record, ResultStore, encoded, failure_of, is_complete, mark_of
from bench.store.running import CheckpointFile, Leases
from editors import registry

# Not a failure of the cell: every other cell would meet it too, and there may be room later.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}

# Seconds for which a cell is tried again that a killed process may have held: its lease is valid
# for a while after its last sign of life.
PATIENCE = 150.0
NO_FACTS: Mapping[str, Any] = MappingProxyType({})


class KilledError(RuntimeError):
    """A worker process ended in the middle of a cell."""


class Worker:
    """Runs one job after the other and reads every file once, as long as it serves."""

    def __init__(
        self,
        store: ResultStore,
        options: RunOptions = DEFAULT_OPTIONS,
        stop: StopFlag | None = None,
        *,
        context: Context | None = None,
        leases: Leases | None = None,
    ) -> None:
        self._store, self._options, self._stop = store, options, stop or StopFlag()
        self._leases, self._context = leases or Leases(store.leases), context or Context()

    def run(self, job: Job) -> Finished:
        """Run a job and write its record; an exception of the job becomes a failed record.

        A cell with a record is not run, unless the job replaces that very record, and neither is a
        cell that another process holds. The checkpoint of a failed job remains, so that another
        try need not start over, unless the job has corrupted its model.

        Raises:
            OSError: the record cannot be written, or the disk has no room for the job's files.
            StoppedEarly: a stop was requested; there is a checkpoint and no record.
        """
        if known := outcome_in(self._store, job):
            return known
        checkpointer, key = self._checkpointer(job), job.cell.key()
        checkpointer.check()
        lease = self._leases.acquire(key)
        if lease is None:
            return finished_as(job, "elsewhere")
        with lease:
            if known := outcome_in(self._store, job):  # of who held the lease until now
                return known
            lease.report(lambda: checkpointer.count)
            start, started = time.perf_counter(), now()
            try:
                ran = run_cell(job, self._context, checkpointer)
                self._context.check_reset()
                record = _record_of(
                    job, job.device, started, ran.body, ran.seconds, self._context.facts
                )
                content, edits = encoded(record), ran.edits
            except Exception as error:  # noqa: BLE001 - whatever an editor raises: the grid goes on
                record = self._failed(job, started, error, checkpointer)
                content, edits = encoded(record), 0
            if lease.is_lost() and (known := outcome_in(self._store, job)):
                return known
            self._store.put(key, content)
            if is_complete(record):
                checkpointer.discard()
        return replace(
            finished_by(job, record),
            edits=edits,
            seconds=time.perf_counter() - start,
            earlier=checkpointer.count.earlier,
        )

    def _failed(
        self, job: Job, started: str, error: Exception, checkpointer: Checkpointer
    ) -> Record:
        """The record of a job that raised; a checkpoint of a corrupted model is set aside."""
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise UnwritableError.of(Path(str(error.filename or "a disk")), error) from error
        try:
            self._context.check_reset()
        except Exception:  # noqa: BLE001 - what cannot be checked is not trusted either
            checkpointer.set_aside("was written on a model that its editor did not restore")
        self._context.forget_model()
        return _record_of(job, job.device, started, error)

    def _checkpointer(self, job: Job) -> Checkpointer:
        here = numerics(torch.device(job.device))
        folder, key = self._store.checkpoints, job.cell.key()
        file = CheckpointFile(directory=folder, key=key, numerics=here)
        return Checkpointer(file, self._options, self._stop)


def outcome_in(store: ResultStore, job: Job) -> Finished | None:
    """What a store has of a job, other than what the job is to replace."""
    record = store.read(job.cell.key())
    if record is None or mark_of(record) == job.replaces:
        return None
    return finished_by(job, record, "found")


def finished_as(job: Job, outcome: Outcome, error: str | None = None) -> Finished:
    return Finished(key=job.cell.key(), name=job.cell.describe(), outcome=outcome, error=error)


def finished_by(job: Job, record: Record, outcome: Outcome = "done") -> Finished:
    """What became of a job's cell, by its record; `outcome` is that of a complete one."""
    if is_complete(record):
        return finished_as(job, outcome)
    return finished_as(job, "failed", failure_of(record))


def lost(job: Job, directory: Path, seconds: float) -> Finished:
    """Record a cell as failed whose process was killed, and so could write no record itself."""
    store = ResultStore(directory)
    if known := outcome_in(store, job):  # of another run that has taken the cell over
        return known
    error = KilledError("worker process was killed, out of memory?")
    record = _record_of(job, "cpu", now(), error)
    lease = Leases(store.leases).acquire(job.cell.key())  # that the process has left
    store.write(record)
    if lease is not None:
        lease.release()
    return replace(finished_by(job, record), seconds=seconds)


def _record_of(
    job: Job,
    device: str,
    started: str,
    outcome: Mapping[str, Any] | Exception,
    seconds: Mapping[str, float] | None = None,
    model: Mapping[str, Any] = NO_FACTS,
) -> Record:
    """The record of a job's results, or of what it raised; `model` is what is known of that."""
    origin = provenance(torch.device(device), started=started, seconds=seconds or {})
    origin |= {**job.paths, **model}
    # What tables need to know of an editor; of the unedited model there is nothing.
    facts: dict[str, Any] = {"label": None, "family": None, "retrieves_text": False}
    if editor := CellKey.of(job.cell.to_dict()).editor:
        cls = registry.editor_class(editor)
        facts = {"label": cls.label, "family": cls.family, "retrieves_text": cls.retrieves_text}
    if isinstance(outcome, Exception):
        return results.failed(job.cell, facts, origin, outcome)
    return results.complete(job.cell, facts, origin, outcome)


# The worker of a process that serves an engine (a process pool, Ray, Slurm); at most one, as a
# process has one working directory.
_serving: dict[Site, Worker] = {}


def worker_at(site: Site, stop: StopFlag | None = None) -> Worker:
    """The worker of this process, with what it has loaded for earlier cells."""
    if site not in _serving:
        site.enter()
        if site.options.deterministic:
            fix_arithmetic()
        _serving.clear()
        torch.set_num_threads(1)  # results must not depend on the number of cores
        store = ResultStore(site.records)
        _serving[site] = Worker(store, site.options, stop or site.stop_flag())
    return _serving[site]


def run_patiently(worker: Worker, job: Job, patience: float = PATIENCE) -> Finished:
    """Run a job; one that another process holds is tried again for `patience` seconds."""
    end = time.monotonic() + patience
    finished = worker.run(job)
    while finished.outcome == "elsewhere" and time.monotonic() < end:
        time.sleep(PAUSE)
        finished = worker.run(job)
    return finished
