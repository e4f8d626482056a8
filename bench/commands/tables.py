"""The `tables` command: a table from stored records only."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cell import Cell
from bench.commands import arguments
from bench.grids import Table, get_table, points
from bench.planning import plan, trained_points
from bench.results import Record, ResultStore, is_complete

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from bench.layout import TextTable

EXAMPLES = """examples:
  python -m bench tables --table 1
      the table of all seeds in results/, in the terminal and in tables/
  python -m bench tables --table 1 --by-type
      RippleEdits by its six types of probe
  python -m bench tables --table 1 --correlate
      whether our averages rank the editors as the paper's do
  python -m bench tables --table 1 --out runs/mine --editors recipe,ft --edits 10,100
      part of the table, of the records in runs/mine
"""


def add_commands(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `tables`."""
    parser = subparsers.add_parser(
        "tables",
        help="print and write a table from stored records",
        description="Print and write a table from stored records. Give the same data, backbone "
        "and limits as to `run`; without --seeds, all stored seeds are taken.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_selection(parser)
    view = parser.add_mutually_exclusive_group()
    view.add_argument(
        "--by-type", action="store_true", help="RippleEdits by type of probe, in the terminal"
    )
    view.add_argument(
        "--correlate",
        action="store_true",
        help="rank correlation of our Avg with the published one over the editors, per number of "
        "edits, in the terminal",
    )
    parser.set_defaults(func=tables)


def tables(args: argparse.Namespace) -> int:
    """Exit code 0; no record at all is an error."""
    table = get_table(args.table)
    store = ResultStore(arguments.records_directory(args))
    records = [record for record in store.records() if is_complete(record)]
    seeds = tuple(sorted({int(record["cell"]["seed"]) for record in records})) or (0,)
    settings = arguments.settings(args)
    chosen = list(points(table, arguments.selection(args, seeds)))
    if args.editors is None:  # some may have no trained weights, and so no records
        chosen, _ = trained_points(chosen, settings)
    jobs = plan(chosen, settings)
    cells = [job.cell for job in jobs]
    if not {cell.key() for cell in cells} & {record["key"] for record in records}:
        raise ValueError(
            f"No record in {store.directory} belongs to this selection of table {table.number}; "
            "make them with python -m bench run and the same arguments."
        )
    if args.by_type:
        return _show_kinds(table, cells, records)
    if args.correlate:
        return _show_correlations(table, cells, records)
    _show(table, cells, records, arguments.tables_directory(args))
    return 0


def show(table: Table, cells: Sequence[Cell], store: ResultStore, directory: Path) -> None:
    """Print the table of these cells and write it under `directory`."""
    found = (store.lookup(cell) for cell in cells)
    _show(table, cells, [record for record in found if record is not None], directory)


def _show(table: Table, cells: Sequence[Cell], records: Iterable[Record], directory: Path) -> None:
    from bench import console
    from bench.layout import by_dataset
    from bench.render import write_table
    from bench.tabulate import tabulate

    data = tabulate(table, cells, records)
    _print(by_dataset(data))
    console.say("written: " + ", ".join(str(path) for path in write_table(data, directory)))


def _show_kinds(table: Table, cells: Sequence[Cell], records: Iterable[Record]) -> int:
    from bench.layout import by_kind
    from bench.tabulate import tabulate

    _print(by_kind(tabulate(table, cells, records)))
    return 0


def _show_correlations(table: Table, cells: Sequence[Cell], records: Iterable[Record]) -> int:
    from bench import console
    from bench.correlation import caption, correlations, rank_table
    from bench.tabulate import tabulate

    data = tabulate(table, cells, records)
    for line in caption(data):
        console.say(line)
    console.show(rank_table(correlations(data)))
    return 0


def _print(text: TextTable) -> None:
    """The caption, then one table per group of columns."""
    from bench import console
    from bench.render import terminal

    for line in text.caption:
        console.say(line)
    for rich_table in terminal(text):
        console.show(rich_table)
