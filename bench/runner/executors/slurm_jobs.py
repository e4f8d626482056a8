"""Cells in Slurm jobs, which submitit submits; each of them takes what is free from the list.

submitit writes what a job calls to a file with cloudpickle, which is unavoidable with this engine.
The file is this run's own, in the folder named by the user; nothing else here uses pickle.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.cells import Cell
from bench.core.config import SLURM_FOLDER, RunConfig
from bench.core.console import warn
from bench.core.grids import get_table
from bench.core.progress import StopFlag, StoppedEarly
from bench.evaluation.jobs import Job
from bench.evaluation.record_kinds import edits_in
from bench.runner.executors.base import PAUSE, Executor, Finished, FinishedCells, Site, require
from bench.runner.kinds import KINDS
from bench.store.results import Record, ResultStore, is_complete

if TYPE_CHECKING:
    import submitit
    from submitit.helpers import DelayedSubmission

MINUTES = 240  # of a job, after which it is queued again, and goes on
GRACE = 60.0  # seconds for a cell to come to a stop; Slurm gives 90 unless configured otherwise
_LOOK = 2.0  # seconds between two looks at the records
_SETTLING = 10.0  # seconds at most in which workers end when all is done
# How often a job is queued again that ran out of time: a long stream needs many (ours).
_TIMEOUTS = 1000


class SlurmExecutor(Executor):
    """As many jobs as there are workers, of what a configuration requests for each."""

    def __init__(self, config: RunConfig) -> None:
        require("submitit", extra="slurm")
        self._config = config
        self._folder = (config.slurm_folder or SLURM_FOLDER).absolute()
        alone = KINDS[get_table(config.table).measures].alone
        self._workers = 1 if alone else config.slurm_workers or 1

    def submit(self, jobs: Sequence[Job], site: Site) -> list[str]:
        return [str(job.job_id) for job in self._submit(jobs, site)]

    def run(self, jobs: Sequence[Job], site: Site, stop: StopFlag) -> FinishedCells:
        """See the base class; records show what is finished, and a stop ends the watching."""
        before = written_at(site.records, jobs)
        submitted = self._submit(jobs, site)
        try:
            yield from _watch(submitted, jobs, ResultStore(site.records), before, stop)
        except (KeyboardInterrupt, StoppedEarly):
            ids = " ".join(str(job.job_id) for job in submitted)
            warn(f"interrupted: the jobs go on without being watched; `scancel {ids}` ends them.")
            raise
        _settle(submitted)

    def _submit(self, jobs: Sequence[Job], site: Site) -> list[submitit.Job[None]]:
        from submitit.core.utils import FailedSubmissionError, UncompletedJobError

        site = replace(site, records=site.records.absolute())
        pull, engine = Pull(jobs=jobs, site=site), self._engine()
        try:
            return engine.submit_array([pull] * min(self._workers, len(jobs)))
        except (FailedSubmissionError, UncompletedJobError) as error:
            raise OSError(f"Slurm took no job: {error}") from error

    def _engine(self) -> submitit.AutoExecutor:
        import submitit

        config = self._config
        on_gpu = 1 if config.device.startswith("cuda") else 0
        try:
            engine = submitit.AutoExecutor(
                folder=self._folder,
                cluster=config.slurm_cluster or "slurm",  # never silently this machine
                slurm_max_num_timeout=_TIMEOUTS,
                local_max_num_timeout=_TIMEOUTS,
            )
            engine.update_parameters(
                name="lifelong-edit-bench",
                timeout_min=config.slurm_time or MINUTES,
                nodes=1,
                tasks_per_node=1,
                cpus_per_task=1,
                gpus_per_node=on_gpu if config.slurm_gpus is None else config.slurm_gpus,
                **_slurm_parameters(config),
            )
        except (RuntimeError, ValueError, NameError, AssertionError) as error:
            raise ValueError(f"--executor slurm: {error}") from error
        return engine


def _slurm_parameters(config: RunConfig) -> dict[str, Any]:
    """Parameters of Slurm alone: those that submitit knows by name, and any other of sbatch."""
    from submitit import SlurmExecutor as Engine

    given = config.slurm_option or {}
    named = {name.replace("-", "_"): (name, value) for name, value in given.items()}
    if config.slurm_partition is not None:
        named["partition"] = "partition", config.slurm_partition
    known = Engine._valid_parameters()  # noqa: SLF001 - submitit lists them nowhere else
    parameters: dict[str, Any] = {
        f"slurm_{key}": value for key, (_, value) in named.items() if key in known
    }
    others = {name: value for key, (name, value) in named.items() if key not in known}
    return parameters | ({"slurm_additional_parameters": others} if others else {})


@dataclass(kw_only=True)
class Pull:
    """What each worker does: it goes through the list in order and takes what is free.

    Nobody hands cells out. Cells that are done or that another worker holds are passed over; leases
    in the directory of records show which. Plain values, so that it can be sent to another machine
    and be queued again.
    """

    jobs: Sequence[Job]  # in the order in which they are taken
    site: Site
    patience: float | None = None  # seconds without a free cell; None: that of a killed process
    grace: float = GRACE
    _work: threading.Thread | None = field(default=None, init=False, repr=False, compare=False)
    _stop: StopFlag | None = field(default=None, init=False, repr=False, compare=False)
    _error: BaseException | None = field(default=None, init=False, repr=False)

    def __call__(self) -> None:
        """Work until every cell is done, or held by a worker that shows signs of life.

        The work has a thread of its own, so that the main thread can handle Slurm's signals in the
        middle of an edit.
        """
        self._stop = self.site.stop_flag()
        self._work = threading.Thread(target=self._guarded, name="cells", daemon=True)
        self._work.start()
        self._work.join()
        if self._error is not None:
            raise self._error

    def checkpoint(self) -> DelayedSubmission:
        """Stop, and return what is to be queued again; submitit calls this before a job is ended.

        The cell that runs has `grace` seconds to write a checkpoint. That, or its record, is in the
        directory of records, so that the queued worker is this one as it began.
        """
        from submitit.helpers import DelayedSubmission

        if self._stop is not None:
            self._stop.request_stop()
        if self._work is not None:
            self._work.join(self.grace)
        return DelayedSubmission(replace(self))

    def _guarded(self) -> None:
        try:
            self._take_all()
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            if not isinstance(error, StoppedEarly):
                self._error = error

    def _take_all(self) -> None:
        from bench.runner.worker import PATIENCE, worker_at

        patience = PATIENCE if self.patience is None else self.patience
        worker, left = worker_at(self.site, self._stop), list(self.jobs)
        end = time.monotonic() + patience
        while left and not self._is_stopping():
            held = [
                job for job in left if self._is_stopping() or worker.run(job).outcome == "elsewhere"
            ]
            if len(held) < len(left):
                end = time.monotonic() + patience
            elif time.monotonic() >= end:
                return
            else:
                time.sleep(PAUSE)
            left = held

    def _is_stopping(self) -> bool:
        return self._stop is not None and self._stop.stop_requested()


def written_at(directory: Path, jobs: Sequence[Job]) -> dict[str, int]:
    """When each record there is was written, by the file system's clock; no record is read."""
    written = {}
    for key in (job.cell.key() for job in jobs):
        with suppress(FileNotFoundError):
            written[key] = (directory / f"{key}.json").stat().st_mtime_ns
    return written


def written_since(directory: Path, jobs: Sequence[Job], before: Mapping[str, int]) -> list[Job]:
    """Jobs whose record is newer than `before`, failed ones too."""
    now = written_at(directory, jobs)
    return [job for job in jobs if now.get(job.cell.key()) != before.get(job.cell.key())]


def _watch(
    submitted: Sequence[submitit.Job[None]],
    jobs: Sequence[Job],
    store: ResultStore,
    before: Mapping[str, int],
    stop: StopFlag,
) -> Iterator[Finished]:
    """Yield each cell once its record is there, and at the end what the workers left."""
    left = {job.cell.key(): job for job in jobs}
    ended = False
    while left and not ended:
        ended = all(job.done() for job in submitted)  # before the last look
        for job in written_since(store.directory, [*left.values()], before):
            record = store.read(job.cell.key())
            if record is not None:
                yield _finished(left.pop(job.cell.key()), record)
        if stop.stop_requested():
            raise StoppedEarly
        if left and not ended:
            time.sleep(_LOOK)
    yield from _left(submitted, [*left.values()], store)


def _left(
    submitted: Sequence[submitit.Job[None]], jobs: Sequence[Job], store: ResultStore
) -> Iterator[Finished]:
    """What became of cells that workers left when they ended."""
    from bench.runner.worker import finished_as, outcome_in

    for job in jobs:
        if (known := outcome_in(store, job)) is not None:
            yield known
        elif (error := _first_error(submitted)) is not None:
            raise OSError(f"{len(jobs)} cells are left: {error}")
        else:
            yield finished_as(job, "elsewhere")


def _settle(submitted: Sequence[submitit.Job[None]]) -> None:
    """Give workers that have nothing left to do a moment to end."""
    end = time.monotonic() + _SETTLING
    while time.monotonic() < end and not all(job.done() for job in submitted):
        time.sleep(_LOOK / 10)


def _finished(job: Job, record: Record) -> Finished:
    """How a cell ended, by its new record."""
    from bench.runner.worker import finished_by

    seconds = sum(record["provenance"]["seconds"].values())
    edits = (edits_in(job.cell) or 0) if is_complete(record) else 0
    if isinstance(job.cell, Cell):  # rows of other kinds are no samples
        edits = len(record.get("rows", ()))
    return replace(finished_by(job, record), edits=edits, seconds=seconds)


def _first_error(submitted: Sequence[submitit.Job[None]]) -> str | None:
    """Which worker ended with an error, its last line, and where its log is."""
    for job in submitted:
        error = job.exception()
        if error is not None:
            last = str(error).strip().splitlines()[-1]
            return f"job {job.job_id} ended with {last!r}, its log is {job.paths.stderr}"
    return None
