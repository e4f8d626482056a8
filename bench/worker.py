"""A process that runs jobs: it keeps what it has loaded, and writes each record."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from bench import results
from bench.checkpoints import FOLDER, CheckpointFile
from bench.circumstances import circumstances
from bench.conduct import USUAL, Conduct
from bench.jobs import Job
from bench.keeping import Keeper
from bench.loaded import Loaded
from bench.provenance import now, provenance
from bench.results import ResultStore
from bench.stopping_runs import StopFlag


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What the run is told of a cell; the record itself is in the store."""

    key: str
    name: str
    edits: int
    seconds: float
    error: str | None  # one line where the cell failed


class Worker:
    """Runs one job after the other and reads every file once, as long as it serves."""

    def __init__(
        self,
        store: ResultStore,
        conduct: Conduct = USUAL,
        stop: StopFlag | None = None,
    ) -> None:
        self._store = store
        self._conduct = conduct
        self._stop = stop or StopFlag()
        self._loaded = Loaded()

    def run(self, job: Job) -> Finished:
        """Run a job and write its record; an exception of the job becomes a failed record.

        The checkpoint of a failed job stays, so that another try need not begin anew.

        Raises:
            OSError: the record cannot be written.
            StoppedEarly: the end was asked for; there is a checkpoint and no record.
        """
        started, start = now(), time.perf_counter()
        edits, failure, keeper = 0, None, self._keeper(job)
        keeper.check()
        try:
            found = job.results(self._loaded, keeper)
            made = _provenance(job, started, found.seconds)
            record = results.complete(job.cell, job.editor_facts(), made, found.body)
            edits = found.edits
        except Exception as error:  # noqa: BLE001 - whatever an editor raises: the grid goes on
            self._loaded.forget_model()
            failure = f"{type(error).__name__}: {error}"
            made = _provenance(job, started, {})
            record = results.failed(job.cell, job.editor_facts(), made, error)
        self._store.write(record)
        if failure is None:
            keeper.discard()
        return Finished(
            key=job.cell.key(),
            name=job.cell.describe(),
            edits=edits,
            seconds=time.perf_counter() - start,
            error=failure,
        )

    def _keeper(self, job: Job) -> Keeper:
        file = CheckpointFile(
            directory=self._store.directory / FOLDER,
            key=job.cell.key(),
            circumstances=circumstances(torch.device(job.device)),
        )
        return Keeper(file, self._conduct, self._stop)


def _provenance(job: Job, started: str, seconds: Mapping[str, float]) -> dict[str, Any]:
    made = provenance(torch.device(job.device), started=started, seconds=seconds)
    return made | job.places()
