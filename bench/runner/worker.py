"""A process that runs jobs: it keeps what it has loaded, and writes each record."""

from __future__ import annotations

import errno
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from bench.core.files import UnwritableError
from bench.core.provenance import now, provenance
from bench.core.run_options import USUAL, Conduct
from bench.core.stopping import StopFlag
from bench.evaluation.caches import numerics
from bench.evaluation.checkpointing import Checkpointer
from bench.evaluation.context import Loaded
from bench.evaluation.jobs import Job
from bench.store import results
from bench.store.checkpoints import CheckpointFile
from bench.store.leases import Leases
from bench.store.results import ResultStore, encoded, failure_of, is_complete, mark_of

# Run now; failed, now or earlier; complete already; being run by another process that may be alive.
Outcome = Literal["done", "failed", "found", "elsewhere"]
# No failure of a cell: any other one would meet it too, and there may be room again later.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What the run is told of a cell; the record itself is in the store."""

    key: str
    name: str
    edits: int
    seconds: float
    error: str | None  # one line where the cell failed
    outcome: Outcome
    earlier: int = 0  # of the edits, by an earlier run


@dataclass(frozen=True, kw_only=True)
class _Made:
    """A record as it will be written, and what is told of it."""

    content: bytes
    edits: int
    error: str | None


class Worker:
    """Runs one job after the other and reads every file once, as long as it serves."""

    def __init__(
        self,
        store: ResultStore,
        conduct: Conduct = USUAL,
        stop: StopFlag | None = None,
        leases: Leases | None = None,
    ) -> None:
        self._store = store
        self._conduct = conduct
        self._stop = stop or StopFlag()
        self._leases = leases if leases is not None else Leases(store.leases)
        self._loaded = Loaded()

    def run(self, job: Job) -> Finished:
        """Run a job and write its record; an exception of the job becomes a failed record.

        A cell with a record is not run, unless the job replaces that very one, and neither is a
        cell that another process holds. The checkpoint of a failed job stays, so that another
        try need not begin anew, unless the job has spoilt its model.

        Raises:
            OSError: the record cannot be written, or the disk has no room for what the job makes.
            StoppedEarly: the end was asked for; there is a checkpoint and no record.
        """
        known = outcome_in(self._store, job)
        if known is not None:
            return known
        checkpointer = self._checkpointer(job)
        checkpointer.check()
        lease = self._leases.acquire(job.cell.key())
        if lease is None:
            return finished_as(job, "elsewhere")
        with lease:
            known = outcome_in(self._store, job)  # by who held the lease until now
            if known is not None:
                return known
            lease.report(lambda: checkpointer.count)
            start = time.perf_counter()
            made = self._make(job, checkpointer)
            if lease.is_lost() and (known := outcome_in(self._store, job)) is not None:
                return known
            self._store.put(job.cell.key(), made.content)
            if made.error is None:
                checkpointer.discard()
        return finished_as(
            job,
            "done" if made.error is None else "failed",
            edits=made.edits,
            seconds=time.perf_counter() - start,
            error=made.error,
            earlier=checkpointer.count.earlier,
        )

    def _make(self, job: Job, checkpointer: Checkpointer) -> _Made:
        started = now()
        try:
            found = job.results(self._loaded, checkpointer)
            self._loaded.check_reset()
            made = _provenance(job, started, found.seconds)
            record = results.complete(job.cell, job.editor_facts(), made, found.body)
            return _Made(content=encoded(record), edits=found.edits, error=None)
        except Exception as error:  # whatever an editor raises: the grid goes on
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                raise UnwritableError.of(Path(str(error.filename or "a disk")), error) from error
            self._distrust(checkpointer)
            self._loaded.forget_model()
            made = _provenance(job, started, {})
            record = results.failed(job.cell, job.editor_facts(), made, error)
            return _Made(content=encoded(record), edits=0, error=failure_of(record))

    def _distrust(self, checkpointer: Checkpointer) -> None:
        """Set the checkpoint of a failed job aside where its answers may be of a spoilt model."""
        try:
            self._loaded.check_reset()
        except Exception:  # noqa: BLE001 - what cannot be checked is not trusted either
            checkpointer.set_aside("was made on a model that its editor did not restore")

    def _checkpointer(self, job: Job) -> Checkpointer:
        file = CheckpointFile(
            directory=self._store.checkpoints,
            key=job.cell.key(),
            numerics=numerics(torch.device(job.device)),
        )
        return Checkpointer(file, self._conduct, self._stop)


def outcome_in(store: ResultStore, job: Job) -> Finished | None:
    """What a store has of a job, other than what the job is to replace.

    Raises:
        OSError: a record cannot be read.
    """
    record = store.read(job.cell.key())
    if record is None or mark_of(record) == job.replaces:
        return None
    if is_complete(record):
        return finished_as(job, "found")
    return finished_as(job, "failed", error=failure_of(record))


def finished_as(
    job: Job,
    outcome: Outcome,
    *,
    edits: int = 0,
    seconds: float = 0.0,
    error: str | None = None,
    earlier: int = 0,
) -> Finished:
    """What is told of a job's cell."""
    return Finished(
        key=job.cell.key(),
        name=job.cell.describe(),
        edits=edits,
        seconds=seconds,
        error=error,
        outcome=outcome,
        earlier=earlier,
    )


def _provenance(job: Job, started: str, seconds: Mapping[str, float]) -> dict[str, Any]:
    made = provenance(torch.device(job.device), started=started, seconds=seconds)
    return made | job.places()
