"""The `run` command: a table's cells, computed where they are not stored yet, then the table."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.arithmetic import fixed_arithmetic
from bench.commands import arguments
from bench.commands.kinds import KINDS, TableKind
from bench.commands.showing import show
from bench.commands.where import add_where, executor_of, slurm_of
from bench.conduct import CHECKPOINT_SECONDS, Conduct
from bench.console import say, warn
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
    from bench.executors.slurm_jobs import SlurmExecutor
    from bench.worker import Finished

EXAMPLES = """examples:
  python -m bench run --table 1
      Table 1 on the shipped miniature backbone: minutes on two cores, no download
  python -m bench run --table 1 --editors ft,rome --datasets cf --edits 1,10 --n-seeds 5
      part of the table, mean and spread over five seeds
  python -m bench run --table 1 --editors grace,lte --hparam grace.mode=easyedit
      another mode than the preset's; the table says so
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
        type=arguments.whole(1),
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
    with fixed_arithmetic(wanted=args.deterministic):
        return _run(args)


@dataclass(frozen=True, kw_only=True)
class Ran:
    """The cells of a selection, with what is stored of them now."""

    cells: Sequence[Identity]
    records: Sequence[Record]  # complete and failed ones
    store: ResultStore


def _run(args: argparse.Namespace) -> int:
    table, chosen = chosen_points(args)
    if args.dry_run:
        return _list(KINDS[table.measures].lines(chosen))
    ran = computed(args)
    if isinstance(ran, int):
        return ran
    complete = list(filter(is_complete, ran.records))
    show(table, ran.cells, complete, arguments.tables_directory(args))
    failures = [one for one in ran.records if not is_complete(one)]
    return _report_failures(failures, len(ran.cells), ran.store)


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
    """Compute what has no record yet; an exit code where that was stopped or only submitted.

    Args:
        args: of the command line.
        seen: called with every cell that was run.

    Raises:
        ValueError: a selection that cannot be run.
        OSError: files that are missing, or records that cannot be written.
    """
    table, chosen = chosen_points(args)
    kind = KINDS[table.measures]
    device = arguments.device_of(args)
    executor = executor_of(args, device=device, alone=kind.alone)
    jobs = _planned(kind, chosen, args)
    store = ResultStore(arguments.records_directory(args))
    there, todo = _sorted_out(jobs, store, args)
    if todo and args.detach:
        slurm = slurm_of(args, device=device, alone=kind.alone)
        return _submit(todo, store, slurm, _conduct(args))
    if todo:
        done = _compute(todo, store, executor, _conduct(args), seen)
        if done.exit_code is not None:
            warn(
                f"stopped: {done.done} of {len(todo)} cells are done and what was begun is "
                f"kept in {store.directory}; the same command continues."
            )
            return done.exit_code
        there |= {r["key"]: r for job in todo if (r := store.read(job.cell.key())) is not None}
    cells = [job.cell for job in jobs]
    found = [there[key] for cell in cells if (key := cell.key()) in there]
    return Ran(cells=cells, records=found, store=store)


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
) -> Sequence[Job]:
    """Jobs of all points; editors that were not asked for by name may lack trained weights."""
    settings = arguments.settings(args)
    train_missing(chosen, settings)
    chosen, reasons = trained_points(chosen, settings, named=args.editors is not None)
    for reason in reasons:
        warn(f"left out: {reason}")
    return kind.plan(chosen, args)


def _list(lines: Iterable[str]) -> int:
    listed = list(lines)
    for line in listed:
        say(line)
    say(f"{len(listed)} cells")
    return 0


@dataclass(kw_only=True)
class _Computed:
    """What became of the cells that had no record."""

    done: int = 0
    exit_code: int | None = None  # where a signal stopped them


def _conduct(args: argparse.Namespace) -> Conduct:
    return Conduct(
        checkpoint_seconds=args.checkpoint_seconds,
        checkpoint_edits=args.checkpoint_edits,
        deterministic=args.deterministic,
    )


def _compute(
    todo: Sequence[Job],
    store: ResultStore,
    executor: Executor,
    conduct: Conduct,
    seen: Callable[[Finished], None],
) -> _Computed:
    """Run the cells, or wait for who is running them, and show progress; a signal stops them."""
    from bench.progress import track
    from bench.stopping_runs import StopFlag, StoppedEarly, stopped_by_signals
    from bench.waiting import until_done

    store.prepare()
    stop, computed = StopFlag(), _Computed()
    with stopped_by_signals(stop) as caught:
        finished = until_done(executor, todo, store, conduct=conduct, stop=stop)
        try:
            for one in track(finished, total=len(todo)):
                computed.done += 1
                seen(one)
        except StoppedEarly:
            computed.exit_code = caught.exit_code
    return computed


def _submit(
    todo: Sequence[Job], store: ResultStore, executor: SlurmExecutor, conduct: Conduct
) -> int:
    """Submit and say how to go on."""
    store.prepare()
    submitted = executor.submit(todo, store.directory, conduct=conduct)
    ids = ", ".join(str(job.job_id) for job in submitted)
    say(f"submitted: {len(todo)} cells to Slurm, jobs {ids}")
    say("`python -m bench tables` with the same selection shows what there is;")
    say("the same command without --detach computes what is missing, and waits.")
    return 0
