"""A process that runs jobs: it keeps what it has loaded, and writes each record."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from bench import results
from bench.jobs import Job
from bench.loaded import Loaded
from bench.provenance import now, provenance
from bench.results import ResultStore

# Run now, with or without success; in the store already; or held by another process.
Outcome = Literal["done", "failed", "found", "elsewhere"]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What the run is told of a cell; the record itself is in the store."""

    key: str
    name: str
    edits: int
    seconds: float
    error: str | None  # one line where the cell failed
    outcome: Outcome = "done"


class Worker:
    """Runs one job after the other and reads every file once, as long as it serves."""

    def __init__(self, store: ResultStore) -> None:
        self._store = store
        self._loaded = Loaded()

    def run(self, job: Job) -> Finished:
        """Run a job and write its record; an exception of the job becomes a failed record.

        Raises:
            OSError: the record cannot be written.
        """
        started, start = now(), time.perf_counter()
        edits, failure = 0, None
        try:
            found = job.results(self._loaded)
            self._loaded.check_reset()
            made = _provenance(job, started, found.seconds)
            record = results.complete(job.cell, job.editor_facts(), made, found.body)
            edits = found.edits
        except Exception as error:  # noqa: BLE001 - whatever an editor raises: the grid goes on
            self._loaded.forget_model()
            failure = f"{type(error).__name__}: {error}"
            made = _provenance(job, started, {})
            record = results.failed(job.cell, job.editor_facts(), made, error)
        self._store.write(record)
        return Finished(
            key=job.cell.key(),
            name=job.cell.describe(),
            edits=edits,
            seconds=time.perf_counter() - start,
            error=failure,
            outcome="done" if failure is None else "failed",
        )


def _provenance(job: Job, started: str, seconds: Mapping[str, float]) -> dict[str, Any]:
    made = provenance(torch.device(job.device), started=started, seconds=seconds)
    return made | job.places()
