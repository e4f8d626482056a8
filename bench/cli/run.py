"""The `run` command: a table's cells, computed where they are not stored yet, then the table."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bench.cli import arguments
from bench.cli.ending import beginning, say_next
from bench.cli.kinds import KINDS
from bench.cli.measures import show_measures
from bench.cli.showing import show
from bench.cli.values import whole
from bench.cli.where import add_where, slurm_of
from bench.cli.work import Work, chosen_points, compute, conduct_of, sorted_work
from bench.core.console import say, warn
from bench.core.events import EventLog, event_log
from bench.core.numerics import fixed_arithmetic
from bench.core.run_options import CHECKPOINT_SECONDS
from bench.evaluation.record_kinds import identity_of
from bench.store.results import Record, ResultStore, failure_of, is_complete

if TYPE_CHECKING:
    from argparse import _SubParsersAction

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


def _run(args: argparse.Namespace, log: EventLog) -> int:
    table, chosen = chosen_points(args)
    if args.dry_run:
        return _list(KINDS[table.measures].lines(chosen))
    work = sorted_work(args)
    if work.todo and args.detach:
        return _submit(work, args)
    from bench.runner.run_events import told_run

    with told_run(log, beginning(args, cells=len(work.jobs), todo=len(work.todo))) as ending:
        stopped = compute(work, conduct_of(args), log)
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


def _list(lines: Iterable[str]) -> int:
    listed = list(lines)
    for line in listed:
        say(line)
    say(f"{len(listed)} cells")
    return 0


def _submit(work: Work, args: argparse.Namespace) -> int:
    """Submit and say how to go on."""
    kind = KINDS[work.table.measures]
    slurm = slurm_of(args, device=arguments.device_of(args), alone=kind.alone)
    work.store.prepare()
    submitted = slurm.submit(work.todo, work.store.directory, conduct=conduct_of(args))
    ids = ", ".join(str(job.job_id) for job in submitted)
    say(f"submitted: {len(work.todo)} cells to Slurm, jobs {ids}")
    say("`python -m bench tables` with the same selection shows what there is;")
    say("the same command without --detach computes what is missing, and waits.")
    return 0
