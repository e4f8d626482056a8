"""Cells whose process was killed, which could write no record of it itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.evaluation.jobs import Job

if TYPE_CHECKING:
    from bench.runner.worker import Finished


class KilledError(RuntimeError):
    """A worker process ended in the middle of a cell."""


def lost(job: Job, directory: Path, seconds: float) -> Finished:
    """Record a cell as failed that its process did not survive.

    Args:
        job: the cell's.
        directory: where its record goes.
        seconds: that were spent on it.

    Raises:
        OSError: the record cannot be written.
    """
    import torch

    from bench.core.provenance import now, provenance
    from bench.runner.worker import finished_as, outcome_in
    from bench.store import results
    from bench.store.leases import Leases
    from bench.store.results import ResultStore, failure_of

    store = ResultStore(directory)
    known = outcome_in(store, job)  # another run may have taken the cell over, and ended it
    if known is not None:
        return known
    error = KilledError("worker process was killed, out of memory?")
    made = provenance(torch.device("cpu"), started=now(), seconds={}) | job.places()
    record = results.failed(job.cell, job.editor_facts(), made, error)
    lease = Leases(store.leases).acquire(job.cell.key())  # the one that the process has left
    store.write(record)
    if lease is not None:
        lease.release()
    return finished_as(job, "failed", seconds=seconds, error=failure_of(record))
