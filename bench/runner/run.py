"""`run`: the cells of a configuration, computed where they have no record yet.

The command line and notebooks both call it. `execute` is the part that computes: whichever process
or machine takes a cell, it waits until every cell has a record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.cells import Identity, stream_of
from bench.core.config import DEFAULT_OPTIONS, RunConfig, RunOptions
from bench.core.console import warn
from bench.core.grids import Table, get_table
from bench.core.progress import StopFlag, StoppedEarly, heartbeat, stopped_by_signals
from bench.datasets import named_files
from bench.evaluation.context import Context
from bench.evaluation.jobs import Job
from bench.models.backbones import check_loadable
from bench.runner.executors.base import Executor, Finished, Site
from bench.runner.kinds import KINDS
from bench.runner.observers import CellProgress, Observer
from bench.runner.planning import plan
from bench.store.results import Record, ResultStore, is_complete, mark_of

if TYPE_CHECKING:
    from bench.store.running import Leases

LOOK = 1.0  # seconds between two beats of the observers (ours)
EVERY = 2.0  # seconds between two looks at cells that others compute (ours)


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A run that is over, or submitted."""

    table: Table
    cells: Sequence[Identity]  # in the order of the table
    records: Sequence[Record]  # complete and failed ones
    store: ResultStore
    left_out: Sequence[str] = ()  # why parts of the selection have no cell
    exit_code: int | None = None  # of a run that a signal stopped
    submitted: Sequence[str] = ()  # ids of Slurm jobs that nobody waits for
    todo: int = 0  # cells that had no record

    @property
    def complete(self) -> list[Record]:
        return [record for record in self.records if is_complete(record)]

    @property
    def failed(self) -> list[Record]:
        return [record for record in self.records if not is_complete(record)]


def run(config: RunConfig, observers: Sequence[Observer] = ()) -> Ran:
    """Compute what has no record yet, while observers look on.

    Raises:
        ValueError: a selection that cannot be run.
        OSError: files that are missing, or records that cannot be written.
    """
    context, store = Context(), ResultStore(config.records)
    executor = executor_for(config, context)
    planned = plan(config, context)
    for reason in planned.left_out:
        warn(f"left out: {reason}")
    for note in planned.notes:
        warn(f"{note}.")
    there, todo = _sorted_out(planned.jobs, store, config)
    ran = Ran(
        table=planned.table,
        cells=[job.cell for job in planned.jobs],
        records=(),
        store=store,
        left_out=planned.left_out,
        todo=len(todo),
    )
    for backbone in dict.fromkeys(job.backbone for job in todo):
        check_loadable(backbone)
    if todo and config.detach:
        store.prepare()
        ids = executor.submit(todo, site_of(store.directory, config.options))
        return replace(ran, submitted=ids)
    for observer in observers:
        observer.planned(cells=len(planned.jobs), todo=len(todo))
    stop = StopFlag()
    with stopped_by_signals(stop) as caught:
        try:
            execute(todo, store, observers, executor=executor, options=config.options, stop=stop)
        except StoppedEarly:
            return replace(ran, exit_code=caught.exit_code)
    new = (store.read(job.cell.key()) for job in todo)
    there |= {record["key"]: record for record in new if record is not None}
    return replace(ran, records=[there[key] for c in ran.cells if (key := c.key()) in there])


def site_of(records: Path, options: RunOptions = DEFAULT_OPTIONS) -> Site:
    """What every process of a run whose records are in a directory must know."""
    return Site(records=records, working=Path.cwd(), options=options, own=named_files())


def execute(
    jobs: Sequence[Job],
    store: ResultStore,
    observers: Sequence[Observer] = (),
    *,
    executor: Executor,
    options: RunOptions = DEFAULT_OPTIONS,
    stop: StopFlag | None = None,
) -> None:
    """Compute cells, in this order, until each has a record, whichever process computes it.

    Cells that others hold are waited for, and run here where these gave them back or are gone.

    Raises:
        OSError: a record cannot be read or written, or the engine stopped before all was done.
        StoppedEarly: a stop was requested.
    """
    if not jobs:
        return
    store.prepare()
    progress, stopped, stop = CellProgress(jobs, store), False, stop or StopFlag()
    _each(observers, lambda observer: observer.started(progress))

    def report(cell: Finished) -> None:
        progress.ended(cell)
        _each(observers, lambda observer: observer.finished(cell))

    left = list(jobs)
    try:
        with heartbeat(lambda: _each(observers, lambda observer: observer.beat()), LOOK):
            while left:
                elsewhere = set()
                cells = executor.run(left, site_of(store.directory, options), stop)
                with closing(cells):
                    for cell in cells:
                        if cell.outcome == "elsewhere":
                            elsewhere.add(cell.key)
                        else:
                            report(cell)
                left = [job for job in left if job.cell.key() in elsewhere]
                left = _wait(left, store, stop, report)
    except StoppedEarly:
        stopped = True
        raise
    finally:
        _each(observers, lambda observer: observer.ended(stopped=stopped))
        if stopped:
            warn(
                f"stopped: {progress.done} of {len(jobs)} cells are done and what was begun is "
                f"checkpointed in {store.directory}; the same command continues."
            )


def _each(observers: Sequence[Observer], call: Callable[[Observer], None]) -> None:
    for observer in observers:
        call(observer)


def _wait(
    jobs: Sequence[Job], store: ResultStore, stop: StopFlag, report: Callable[[Finished], None]
) -> list[Job]:
    """Report what others finish; the jobs that are left once one of them can be taken."""
    from bench.runner.worker import outcome_in
    from bench.store.running import Leases

    leases, left = Leases(store.leases), list(jobs)
    if left:
        holders = sorted({leases.holder(job.cell.key()) for job in left})
        cells = "1 cell is" if len(left) == 1 else f"{len(left)} cells are"
        warn(f"{cells} being computed by {', '.join(holders)}; waiting for the records.")
    while left:
        known = [(job, outcome_in(store, job)) for job in left]
        left = [job for job, outcome in known if outcome is None]
        for _, outcome in known:
            if outcome is not None:
                report(outcome)
        if any(_is_free(job.cell.key(), leases) for job in left):
            break
        if stop.stop_requested():
            raise StoppedEarly
        if left:
            time.sleep(EVERY)
    return left


def _is_free(key: str, leases: Leases) -> bool:
    """Whether a cell can be taken; the lease of a holder that is gone is removed.

    The process that has watched it for long enough does so: a fresh worker would start watching.
    """
    lease = leases.acquire(key)
    if lease is not None:
        lease.release()
    return lease is not None


def _sorted_out(
    jobs: Sequence[Job], store: ResultStore, config: RunConfig
) -> tuple[dict[str, Record], list[Job]]:
    """Records that stand, by key, and the jobs to be run, the largest first.

    A job has the mark of the record that it replaces.
    """
    there: dict[str, Record] = {}
    todo: list[Job] = []
    for job in jobs:
        record = store.read(job.cell.key())
        if record is None:
            todo.append(job)
        elif config.overwrite or (config.retry_failed and not is_complete(record)):
            todo.append(replace(job, replaces=mark_of(record)))
        else:
            there[record["key"]] = record
    return there, largest_first(todo)


def largest_first(jobs: Iterable[Job]) -> list[Job]:
    """By edits, then samples or questions. Long cells start first: processes end together then."""

    def size(job: Job) -> tuple[int, int]:
        cell = job.cell.to_dict()
        edits = int(stream_of(cell).get("n_edits") or 0)
        return edits, cell.get("limit") or cell.get("task_limit") or 0

    return sorted(jobs, key=size, reverse=True)


def executor_for(config: RunConfig, context: Context) -> Executor:
    """The executor of a configuration; `context` is for cells that run in this process."""
    if config.executor == "ray":
        from bench.runner.executors.ray_cluster import RayExecutor

        return RayExecutor(config)
    if config.executor == "slurm":
        from bench.runner.executors.slurm_jobs import SlurmExecutor

        return SlurmExecutor(config)
    from bench.runner.executors.local import LocalExecutor

    alone = KINDS[get_table(config.table).measures].alone
    return LocalExecutor(1 if alone else config.jobs, context)
