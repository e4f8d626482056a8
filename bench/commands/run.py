"""The `run` command: a table's cells, computed where they are not stored yet, then the table."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bench.commands import arguments
from bench.commands.kinds import KINDS, TableKind
from bench.commands.showing import show
from bench.console import say, warn
from bench.grids import GridPoint, get_table, points
from bench.jobs import Job
from bench.planning import check_hparams, train_missing, trained_points
from bench.results import ResultStore

if TYPE_CHECKING:
    from argparse import _SubParsersAction

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

The same command continues where it stopped, and only prints the table when all is done.
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
    how.add_argument(
        "--jobs",
        type=arguments.whole(1),
        metavar="N",
        help="worker processes of one thread each (default: the CPU cores, 1 on a GPU)",
    )
    how.add_argument("--overwrite", action="store_true", help="redo cells that have a record")
    how.add_argument("--dry-run", action="store_true", help="list the cells and do nothing")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0, or 1 where a cell failed."""
    table = get_table(args.table)
    kind = KINDS[table.measures]
    kind.check(args)
    chosen = points(table, arguments.selection(args))
    for hparams in check_hparams(chosen, arguments.settings(args)):
        hparams.check_installed()
    if args.dry_run:
        return _list(kind.lines(chosen))
    jobs = _planned(kind, chosen, args)
    store = ResultStore(arguments.records_directory(args))
    todo = [job for job in jobs if args.overwrite or store.lookup(job.cell) is None]
    failures = _compute(todo, store, 1 if kind.alone else args.jobs) if todo else []
    cells = [job.cell for job in jobs]
    found = [record for cell in cells if (record := store.lookup(cell)) is not None]
    show(table, cells, found, arguments.tables_directory(args))
    for failure in failures:
        warn(f"failed: {failure.name}: {failure.error}")
    if failures:
        warn(
            f"error: {len(failures)} of {len(todo)} cells failed; their records in "
            f"{store.directory} hold the tracebacks, and the same command tries them again."
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


def _compute(todo: Sequence[Job], store: ResultStore, jobs: int | None) -> list[Finished]:
    """Run the cells, show progress, and return those that failed."""
    from bench.progress import track
    from bench.workers import available_cores, run_jobs

    store.prepare()
    processes = jobs or (available_cores() if todo[0].device == "cpu" else 1)
    finished = run_jobs(todo, directory=store.directory, processes=min(processes, len(todo)))
    return [one for one in track(finished, total=len(todo)) if one.error is not None]
