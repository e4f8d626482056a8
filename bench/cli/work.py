"""The cells of a selection: which have a record, and how the others are computed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.cli import arguments
from bench.cli.kinds import KINDS, TableKind
from bench.cli.where import executor_of
from bench.core.busy import show_busy
from bench.core.cells import Identity
from bench.core.console import warn
from bench.core.events import EventLog, Stopped
from bench.core.grids import GridPoint, Table, get_table
from bench.core.run_options import Conduct
from bench.evaluation.jobs import Job
from bench.runner.planning import check_hparams, points, train_missing, trained_points
from bench.store.results import Record, ResultStore, is_complete, mark_of

if TYPE_CHECKING:
    from bench.runner.executors.base import Executor
    from bench.runner.worker import Finished


@dataclass(frozen=True, kw_only=True)
class Ran:
    """The cells of a selection, with what is stored of them now."""

    cells: Sequence[Identity]
    records: Sequence[Record]  # complete and failed ones
    store: ResultStore


@dataclass(frozen=True, kw_only=True)
class Work:
    """A selection, sorted into what is stored and what is to be computed."""

    table: Table
    jobs: Sequence[Job]
    left_out: Sequence[str]  # why some of it cannot be run
    store: ResultStore
    there: dict[str, Record]  # by key
    todo: Sequence[Job]
    executor: Executor

    def found(self) -> Ran:
        """What is stored of it now."""
        new = (self.store.read(job.cell.key()) for job in self.todo)
        there = self.there | {record["key"]: record for record in new if record is not None}
        cells = [job.cell for job in self.jobs]
        records = [there[key] for cell in cells if (key := cell.key()) in there]
        return Ran(cells=cells, records=records, store=self.store)


def chosen_points(args: argparse.Namespace) -> tuple[Table, Sequence[GridPoint]]:
    """The table and the points of a selection.

    Raises:
        ValueError: a selection that cannot be run.
    """
    table = get_table(args.table)
    KINDS[table.measures].check(args)
    chosen = points(table, arguments.selection(args))
    for hparams in check_hparams(chosen, arguments.settings(args)):
        hparams.check_installed()
    return table, chosen


def computed(
    args: argparse.Namespace, seen: Callable[[Finished], None] = lambda _: None
) -> Ran | int:
    """Compute what has no record yet; an exit code where that was stopped.

    Args:
        args: of the command line.
        seen: called with every cell that was run.

    Raises:
        ValueError: a selection that cannot be run.
        OSError: files that are missing, or records that cannot be written.
    """
    work = sorted_work(args)
    stopped = compute(work, conduct_of(args), EventLog(), seen)
    return work.found() if stopped is None else stopped


def sorted_work(args: argparse.Namespace) -> Work:
    table, chosen = chosen_points(args)
    kind = KINDS[table.measures]
    executor = executor_of(args, device=arguments.device_of(args), alone=kind.alone)
    jobs, left_out = _planned(kind, chosen, args)
    store = ResultStore(arguments.records_directory(args))
    there, todo = _sorted_out(jobs, store, args)
    return Work(
        table=table,
        jobs=jobs,
        left_out=left_out,
        store=store,
        there=there,
        todo=todo,
        executor=executor,
    )


def _sorted_out(
    jobs: Sequence[Job], store: ResultStore, args: argparse.Namespace
) -> tuple[dict[str, Record], list[Job]]:
    """Records that stand, by key, and the jobs to be run, with the record that each replaces."""
    there: dict[str, Record] = {}
    todo: list[Job] = []
    for job in jobs:
        record = store.read(job.cell.key())
        if record is None:
            todo.append(job)
        elif args.overwrite or (args.retry_failed and not is_complete(record)):
            todo.append(replace(job, replaces=mark_of(record)))
        else:
            there[record["key"]] = record
    return there, todo


def _planned(
    kind: TableKind, chosen: Sequence[GridPoint], args: argparse.Namespace
) -> tuple[Sequence[Job], list[str]]:
    """Jobs of all points, and why some have none.

    Editors that were not asked for by name may lack trained weights.
    """
    settings = arguments.settings(args)
    train_missing(chosen, settings)
    chosen, reasons = trained_points(chosen, settings, named=args.editors is not None)
    for reason in reasons:
        warn(f"left out: {reason}")
    with show_busy("reading models, data and trained weights"):
        return kind.plan(chosen, args), reasons


def conduct_of(args: argparse.Namespace) -> Conduct:
    return Conduct(
        checkpoint_seconds=args.checkpoint_seconds,
        checkpoint_edits=args.checkpoint_edits,
        deterministic=args.deterministic,
    )


def compute(
    work: Work,
    conduct: Conduct,
    log: EventLog,
    seen: Callable[[Finished], None] = lambda _: None,
) -> int | None:
    """Run the cells, or wait for who is running them, and show progress.

    Returns the exit code where a signal stopped them.
    """
    if not work.todo:
        return None
    from bench.core.stopping import StopFlag, StoppedEarly, stopped_by_signals
    from bench.runner.cell_progress import CellProgress
    from bench.runner.progress import track
    from bench.runner.run_events import told
    from bench.runner.waiting import until_done

    todo, store = work.todo, work.store
    store.prepare()
    stop, done = StopFlag(), 0
    progress = CellProgress(todo, store.leases)
    with stopped_by_signals(stop) as caught:
        finished = until_done(work.executor, todo, store, conduct=conduct, stop=stop)
        try:
            for one in told(track(finished, progress), log, todo, store, progress):
                done += 1
                seen(one)
        except StoppedEarly:
            log.tell(Stopped(done=done, todo=len(todo)))
            warn(
                f"stopped: {done} of {len(todo)} cells are done and what was begun is "
                f"kept in {store.directory}; the same command continues."
            )
            return caught.exit_code
    return None
