"""Cells in Slurm jobs, which submitit submits; each of them takes what is free from the list.

submitit writes what a job calls to a file with cloudpickle, which is unavoidable with this engine.
The file is this run's own, in the folder named by the user; nothing else here uses pickle.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.core.cells import Cell
from bench.core.console import warn
from bench.core.run_options import USUAL, Conduct
from bench.core.stopping import StopFlag, StoppedEarly
from bench.evaluation.jobs import Job
from bench.evaluation.record_kinds import edits_in
from bench.runner.executors.base import Executor, largest_first, require
from bench.runner.executors.pull import Pull
from bench.runner.executors.serving import site_of
from bench.runner.executors.stamps import Stamps, stamps, written_since
from bench.store.results import Record, ResultStore, failure_of, is_complete

if TYPE_CHECKING:
    import submitit

    from bench.runner.worker import Finished

Cluster = Literal["slurm", "local", "debug"]

FOLDER = Path("slurm")  # of submitit's files, with the jobs' logs
_PAUSE = 2.0  # seconds between two looks at the records
_SETTLING = 10.0  # seconds at most in which workers end when all is done
# How often a job is queued again that ran out of time: a long stream needs many (ours).
_TIMEOUTS = 1000


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is asked of Slurm for each worker."""

    workers: int = 1
    minutes: int = 240  # after which a worker is queued again, and goes on
    partition: str | None = None
    gpus: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)  # of sbatch, by name


class SlurmExecutor(Executor):
    """As many jobs as there are workers."""

    def __init__(
        self,
        wanted: Wanted,
        *,
        folder: Path = FOLDER,
        cluster: Cluster | None = None,
    ) -> None:
        """Say what is asked for.

        Args:
            wanted: of each worker.
            folder: of submitit's files; all machines must see it.
            cluster: another of submitit's engines than Slurm, by default what is there.

        Raises:
            ValueError: submitit is not installed.
        """
        require("submitit", extra="slurm")
        self._wanted = wanted
        self._folder = folder.absolute()
        self._cluster = cluster

    def submit(
        self, jobs: Sequence[Job], directory: Path, *, conduct: Conduct = USUAL
    ) -> list[submitit.Job[None]]:
        """Submit the workers and return at once.

        Raises:
            ValueError: Slurm is not there, or refuses an option.
            OSError: it takes no job.
        """
        return self._submit(jobs, directory, conduct)

    def run(
        self,
        jobs: Sequence[Job],
        directory: Path,
        *,
        conduct: Conduct = USUAL,
        stop: StopFlag | None = None,
    ) -> Iterator[Finished]:
        """See the base class; the records tell what is finished, and a stop ends the watching."""
        before = stamps(directory, jobs)
        submitted = self._submit(jobs, directory, conduct)
        try:
            yield from _watch(submitted, jobs, ResultStore(directory), before, stop or StopFlag())
        except (KeyboardInterrupt, StoppedEarly):
            ids = " ".join(str(one.job_id) for one in submitted)
            warn(f"interrupted: the jobs go on without being watched; `scancel {ids}` ends them.")
            raise
        _settle(submitted)

    def _submit(
        self, jobs: Sequence[Job], directory: Path, conduct: Conduct
    ) -> list[submitit.Job[None]]:
        from submitit.core.utils import FailedSubmissionError, UncompletedJobError

        pull = Pull(jobs=largest_first(jobs), site=site_of(directory, conduct))
        workers = min(self._wanted.workers, len(jobs))
        engine = self._engine()
        try:
            return engine.submit_array([pull] * workers)
        except (FailedSubmissionError, UncompletedJobError) as error:
            raise OSError(f"Slurm took no job: {error}") from error

    def _engine(self) -> submitit.AutoExecutor:
        """The executor of submitit, with what is wanted."""
        import submitit

        wanted = self._wanted
        try:
            engine = submitit.AutoExecutor(
                folder=self._folder,
                cluster=self._cluster or "slurm",  # never silently this machine
                slurm_max_num_timeout=_TIMEOUTS,
                local_max_num_timeout=_TIMEOUTS,
            )
            engine.update_parameters(
                name="lifelong-edit-bench",
                timeout_min=wanted.minutes,
                nodes=1,
                tasks_per_node=1,
                cpus_per_task=1,
                gpus_per_node=wanted.gpus,
                **_slurm_parameters(wanted),
            )
        except (RuntimeError, ValueError, NameError, AssertionError) as error:
            raise ValueError(f"--executor slurm: {error}") from error
        return engine


def _slurm_parameters(wanted: Wanted) -> dict[str, Any]:
    """Parameters of Slurm alone: those that submitit knows by name, and any other of sbatch."""
    from submitit import SlurmExecutor as Engine

    named = {name.replace("-", "_"): (name, value) for name, value in wanted.options.items()}
    if wanted.partition is not None:
        named["partition"] = "partition", wanted.partition
    known = Engine._valid_parameters()  # noqa: SLF001 - submitit lists them nowhere else
    parameters: dict[str, Any] = {
        f"slurm_{key}": value for key, (_, value) in named.items() if key in known
    }
    others = {name: value for key, (name, value) in named.items() if key not in known}
    return parameters | ({"slurm_additional_parameters": others} if others else {})


def _watch(
    submitted: Sequence[submitit.Job[None]],
    jobs: Sequence[Job],
    store: ResultStore,
    before: Stamps,
    stop: StopFlag,
) -> Iterator[Finished]:
    """Yield each cell once its record is there, and at the end what the workers left.

    Raises:
        OSError: cells are left, and a worker ended with an error.
        StoppedEarly: `stop` was asked for.
    """
    left = {job.cell.key(): job for job in jobs}
    ended = False
    while left and not ended:
        ended = all(one.done() for one in submitted)  # asked before the last look
        for job in written_since(store.directory, [*left.values()], before):
            record = store.read(job.cell.key())
            if record is not None:
                yield _finished(left.pop(job.cell.key()), record)
        if stop.stop_requested():
            raise StoppedEarly
        if left and not ended:
            time.sleep(_PAUSE)
    yield from _left(submitted, [*left.values()], store)


def _left(
    submitted: Sequence[submitit.Job[None]], jobs: Sequence[Job], store: ResultStore
) -> Iterator[Finished]:
    """What is to be told of cells that workers left when they ended."""
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
    while time.monotonic() < end and not all(one.done() for one in submitted):
        time.sleep(_PAUSE / 10)


def _finished(job: Job, record: Record) -> Finished:
    """What a new record says of how its cell ended."""
    from bench.runner.worker import finished_as

    done = is_complete(record)
    return finished_as(
        job,
        "done" if done else "failed",
        edits=_edits(job, record),
        seconds=sum(record["provenance"]["seconds"].values()),
        error=None if done else failure_of(record),
    )


def _edits(job: Job, record: Record) -> int:
    """How many edits a record is of; rows of other kinds than the first are no samples."""
    if isinstance(job.cell, Cell):
        return len(record.get("rows", ()))
    return (edits_in(job.cell) or 0) if is_complete(record) else 0


def _first_error(submitted: Sequence[submitit.Job[None]]) -> str | None:
    """Which worker ended with an error, its last line, and where its log is."""
    for one in submitted:
        error = one.exception()
        if error is not None:
            last = str(error).strip().splitlines()[-1]
            return f"job {one.job_id} ended with {last!r}, its log is {one.paths.stderr}"
    return None
