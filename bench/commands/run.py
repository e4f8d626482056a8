"""The `run` command: a table's cells, computed where they are not stored yet, then the table."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.arithmetic import fixed_arithmetic
from bench.busy import show_busy
from bench.commands import arguments
from bench.commands.ending import beginning, say_next
from bench.commands.kinds import KINDS, TableKind
from bench.commands.measures import show_measures
from bench.commands.showing import show
from bench.commands.values import whole
from bench.commands.where import add_where, executor_of, slurm_of
from bench.conduct import CHECKPOINT_SECONDS, Conduct
from bench.console import say, warn
from bench.events import EventLog, Stopped, event_log
from bench.grids import GridPoint, Table, get_table, points
from bench.identity import Identity
from bench.jobs import Job
from bench.planning import check_hparams, train_missing, trained_points
from bench.record_kinds import identity_of
from bench.results import Record, ResultStore, failure_of, is_complete
from bench.sealing import mark_of

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from bench.executors.base import Executor
    from bench.worker import Finished

EXAMPLES = """examples:
  python -m bench run --table 1
      Table 1 on the shipped miniature backbone: minutes on two cores, no download
  python -m bench run --table 1 --editors ft,rome --datasets cf --edits 1,10 --n-seeds 5
      part of the table, mean and spread over five seeds
  python -m bench run --table 1 --editors grace,lte --hparam grace.mode=easyedit
      another mode than the preset's; the table says so
  python -m bench run --table 1 --measure retention,collapse --edits 100
      further metric sets, with records and tables of their own
  python -m bench run --table 1 --with-recent --edits 1,10
      editors of later papers below the paper's own
  python -m bench run --table 2 --editors recipe,grace,lte --edits 100
      general ability after 100 edits, beside that of the unedited model
  python -m bench run --table 1 --datasets cf --data-dir DATA --backbone path/to/model
      a real data set on any local Hugging Face model of a known architecture

The same command continues where it stopped, and only prints the table when all is done. Ctrl-C
stops behind the present edit and keeps it; what a killed run has edited in its last half minute is
edited again. Several of them, on one machine or many, share a table's cells where --out is one
folder for all.
"""


def add_commands(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `run`."""
    parser = subparsers.add_parser(
        "run",
        help="run the cells of a table and print it",
        description="Run the cells of a table that have no record yet, then print and write it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_selection(parser)
    how = parser.add_argument_group("how")
    how.add_argument("--overwrite", action="store_true", help="redo cells that have a record")
    how.add_argument(
        "--retry-failed", action="store_true", help="run cells again that failed earlier"
    )
    how.add_argument("--dry-run", action="store_true", help="list the cells and do nothing")
    arguments.add_log(how)
    _add_care(parser)
    add_where(parser)
    parser.set_defaults(func=run)


def _add_care(parser: argparse.ArgumentParser) -> None:
    """What is done for the same numbers again, and against losing them."""
    care = parser.add_argument_group("with which care")
    care.add_argument(
        "--deterministic",
        action="store_true",
        help="the same bits every time on a GPU too: deterministic kernels only, no TF32; on a CPU "
        "that holds always",
    )
    care.add_argument(
        "--checkpoint-seconds",
        type=seconds,
        default=CHECKPOINT_SECONDS,
        metavar="S",
        help="keep the state of a running cell every S seconds, at most a 20th of the time "
        "(default: %(default)g)",
    )
    care.add_argument(
        "--checkpoint-edits",
        type=whole(1),
        metavar="K",
        help="and every K edits (default: any number)",
    )


def seconds(text: str) -> float:
    """A reader of a number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number of seconds from 0 on, got {text!r}.")
    return value


def run(args: argparse.Namespace) -> int:
    """Exit code 0, 1 where a cell failed, or 130 or 143 where a signal stopped it."""
    with (
        fixed_arithmetic(wanted=args.deterministic),
        event_log(None if args.dry_run else args.log_json) as log,
    ):
        return _run(args, log)


@dataclass(frozen=True, kw_only=True)
class Ran:
    """The cells of a selection, with what is stored of them now."""

    cells: Sequence[Identity]
    records: Sequence[Record]  # complete and failed ones
    store: ResultStore


@dataclass(frozen=True, kw_only=True)
class _Work:
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


def _run(args: argparse.Namespace, log: EventLog) -> int:
    table, chosen = chosen_points(args)
    if args.dry_run:
        return _list(KINDS[table.measures].lines(chosen))
    work = _sorted_work(args)
    if work.todo and args.detach:
        return _submit(work, args)
    from bench.run_events import told_run

    with told_run(log, beginning(args, cells=len(work.jobs), todo=len(work.todo))) as ending:
        stopped = _compute(work, _conduct(args), log)
        if stopped is not None:
            ending.exit_code = stopped
            return stopped
        ran = work.found()
        complete = list(filter(is_complete, ran.records))
        failures = [one for one in ran.records if not is_complete(one)]
        ending.written = show(table, ran.cells, complete, arguments.tables_directory(args))
        if args.measure:
            ending.written += show_measures(table, ran.cells, complete, args)
        ending.failed = len(failures)
        ending.exit_code = _report_failures(failures, len(ran.cells), ran.store)
        say_next(args, table, ran.cells, ran.store, failed=len(failures), left_out=work.left_out)
        return ending.exit_code


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
    work = _sorted_work(args)
    stopped = _compute(work, _conduct(args), EventLog(), seen)
    return work.found() if stopped is None else stopped


def _sorted_work(args: argparse.Namespace) -> _Work:
    table, chosen = chosen_points(args)
    kind = KINDS[table.measures]
    executor = executor_of(args, device=arguments.device_of(args), alone=kind.alone)
    jobs, left_out = _planned(kind, chosen, args)
    store = ResultStore(arguments.records_directory(args))
    there, todo = _sorted_out(jobs, store, args)
    return _Work(
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


def _report_failures(failures: Sequence[Record], cells: int, store: ResultStore) -> int:
    """Name the cells that failed, now or earlier; the exit code."""
    for record in failures:
        warn(f"failed: {identity_of(record['cell']).describe()}: {failure_of(record)}")
    if failures:
        warn(
            f"error: {len(failures)} of {cells} cells failed; their records in "
            f"{store.directory} hold the tracebacks (python -m bench results show KEY). The same "
            "command does not run them again; with --retry-failed it does."
        )
    return int(bool(failures))


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


def _list(lines: Iterable[str]) -> int:
    listed = list(lines)
    for line in listed:
        say(line)
    say(f"{len(listed)} cells")
    return 0


def _conduct(args: argparse.Namespace) -> Conduct:
    return Conduct(
        checkpoint_seconds=args.checkpoint_seconds,
        checkpoint_edits=args.checkpoint_edits,
        deterministic=args.deterministic,
    )


def _compute(
    work: _Work,
    conduct: Conduct,
    log: EventLog,
    seen: Callable[[Finished], None] = lambda _: None,
) -> int | None:
    """Run the cells, or wait for who is running them, and show progress.

    Returns the exit code where a signal stopped them.
    """
    if not work.todo:
        return None
    from bench.cell_progress import CellProgress
    from bench.progress import track
    from bench.run_events import told
    from bench.stopping_runs import StopFlag, StoppedEarly, stopped_by_signals
    from bench.waiting import until_done

    todo, store = work.todo, work.store
    store.prepare()
    stop, done = StopFlag(), 0
    progress = CellProgress(todo, store.claims)
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


def _submit(work: _Work, args: argparse.Namespace) -> int:
    """Submit and say how to go on."""
    kind = KINDS[work.table.measures]
    slurm = slurm_of(args, device=arguments.device_of(args), alone=kind.alone)
    work.store.prepare()
    submitted = slurm.submit(work.todo, work.store.directory, conduct=_conduct(args))
    ids = ", ".join(str(job.job_id) for job in submitted)
    say(f"submitted: {len(work.todo)} cells to Slurm, jobs {ids}")
    say("`python -m bench tables` with the same selection shows what there is;")
    say("the same command without --detach computes what is missing, and waits.")
    return 0
