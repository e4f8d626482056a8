"""The `tables` command: a table from stored records only."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import arguments
from bench.cli.kinds import KINDS, TableKind
from bench.cli.losing import show_losses
from bench.cli.measures import show_measures
from bench.cli.showing import print_markdown, show, show_text
from bench.cli.values import one_of
from bench.core.cells import Cell, Identity, of_protocol
from bench.core.console import say, warn
from bench.core.grids import Table, get_table
from bench.datasets.plugins import remember
from bench.evaluation.record_kinds import identity_of
from bench.runner.planning import points, trained_points
from bench.store.query import (
    missing_cells,
    missing_commands,
    other_protocols,
    records_of,
    split_points,
    split_stale,
    stale_warning,
    stored_by_protocol,
    stored_with_sets,
    with_own_editors,
    with_recorded,
)
from bench.store.reference import add_to_reference, table_records, write_reference
from bench.store.results import Record, ResultStore, is_complete
from bench.tables import MAIN, METRIC_OPTIONS

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from bench.tables import TextTable
    from bench.tables.editing import EditingView

VIEWS = ("averages", "by_type", "correlate", "significance")
EXAMPLES = """examples:
  python -m bench tables --table 1
      the table of all seeds in results/, in the terminal and in tables/
  python -m bench tables --table 1 --by-type
      RippleEdits by its six types of probe
  python -m bench tables --table 1 --correlate
      whether our averages rank the editors as the paper's do
  python -m bench tables --table 1 --averages --markdown
      the averages alone, to be pasted into a document
  python -m bench tables --table 1 --reference
      the table of the committed reference results, without a model
  python -m bench tables --table 1 --significance
      RECIPE against every other editor, over the seeds there are
  python -m bench tables --table 1 --reference --metric-loss
      what is lost between the printed metric and decoded answers
  python -m bench tables --table 1 --metric generated
      exact matches of greedy answers
  python -m bench tables --table 1 --measure retention
      what is left of old edits, of cells that were run with this metric set
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
    view.add_argument("--averages", action="store_true", help="Avg alone, a column per data set")
    view.add_argument(
        "--correlate",
        action="store_true",
        help="rank correlation of our Avg with the published one over the editors, per number of "
        "edits, in the terminal",
    )
    view.add_argument(
        "--significance",
        action="store_true",
        help="RECIPE against every other editor over the seeds, in the terminal",
    )
    view.add_argument(
        "--metric-loss",
        action="store_true",
        help="what is lost from the printed metric to decoded answers, and to retrieval that sees "
        "the prompt alone; in the terminal and as CSV",
    )
    view.add_argument(
        "--export",
        type=Path,
        metavar="FILE",
        help="write the records, without their rows, as JSON lines",
    )
    parser.add_argument(
        "--add",
        action="store_true",
        help="with --export, keep the records of other cells that FILE has",
    )
    parser.add_argument(
        "--reference",
        action="store_true",
        help="of the committed reference results, instead of the records in results/",
    )
    parser.add_argument(
        "--markdown",
        action="store_true",
        help="print the table or its averages as Markdown, and write nothing",
    )
    parser.add_argument(
        "--metric",
        type=one_of("metric", METRIC_OPTIONS),
        metavar="NAME",
        help=f"{', '.join(METRIC_OPTIONS)} (default: {MAIN}, the paper's)",
    )
    arguments.add_protocol(parser)
    parser.set_defaults(func=tables)


def chosen_records(
    args: argparse.Namespace,
) -> tuple[Table, Sequence[Identity], list[Record]]:
    """The table, its selected cells, and the records there are.

    Raises:
        ValueError: no record at all, or a selection that the table does not take.
    """
    table = get_table(args.table)
    kind = KINDS[table.measures]
    kind.check(args)
    _check_measures(args)
    return table, *(_committed if args.reference else _stored)(table, kind, args)


def tables(args: argparse.Namespace) -> int:
    """Exit code 0; no record at all is an error."""
    if args.add and args.export is None:
        raise ValueError("--add is for --export FILE alone.")
    table, cells, records = chosen_records(args)
    if args.export is not None:
        keys = {cell.key() for cell in cells}
        kept = [record for record in records if record["key"] in keys]
        path = (add_to_reference if args.add else write_reference)(args.export, kept)
        say(f"written: {path}, {len(kept):,} records")
        return 0
    if args.metric_loss:
        folder = arguments.tables_directory(args)
        show_losses(table, cells, records, folder, markdown=args.markdown)
        return 0
    metric = args.metric or MAIN
    views = [name for name in VIEWS if vars(args)[name]]
    if args.measure:
        show_measures(table, cells, records, args)
    elif views:
        from bench.tables.editing import view

        editing = [cell for cell in cells if isinstance(cell, Cell)]  # all of them for views
        shown = view(table, editing, records, METRIC_OPTIONS[metric])
        markdown = args.markdown and views[0] == "averages"
        (print_markdown if markdown else show_text)(_view(views[0])(shown))
    elif args.markdown:
        from bench.tables import view as view_of

        print_markdown(view_of(table, cells, records, metric).text)
    else:
        show(table, cells, records, arguments.tables_directory(args), metric)
    return 0


def _check_measures(args: argparse.Namespace) -> None:
    views = [name for name in (*VIEWS, "metric") if vars(args)[name]]
    if args.measure and views:
        raise ValueError(
            f"--measure has tables of its own and takes no --{views[0].replace('_', '-')}."
        )


def _stored(
    table: Table, kind: TableKind, args: argparse.Namespace
) -> tuple[Sequence[Identity], list[Record]]:
    """The cells of this selection, planned anew, and all complete records of their kind.

    Raises:
        ValueError: none of the cells has a record.
    """
    store = ResultStore(arguments.records_directory(args))
    owned = [r for r in store.records() if is_complete(r) and kind.owns(r)]
    remember(owned)
    # One that was made by other definitions is stale, unless these are what is asked for.
    records, stale = split_stale(owned) if args.protocol is None else (owned, [])
    stored = {seed for record in records if (seed := kind.seed(record)) is not None}
    seeds = tuple(sorted(stored)) or (0,)
    settings = arguments.settings(args)
    asked = with_own_editors(table, arguments.selection(args, seeds), records)
    here, gone = split_points(points(table, asked))
    chosen, _ = trained_points(  # the others have no records
        here, settings, named=args.editors is not None
    )
    planned = [job.cell for job in kind.plan(chosen, args)] if chosen else []
    cells = with_recorded(
        planned,
        gone,
        records,
        dtype=settings.dtype,
        generation=settings.generation,
        measures=settings.measures,
    )
    if args.measure:  # before a protocol is looked for, which does not know of further sets
        cells = [*stored_with_sets([cell for cell in cells if isinstance(cell, Cell)], records)]
    if args.protocol is not None:
        return stored_by_protocol(cells, records, args.protocol), records
    if warning := stale_warning(records_of(stale, cells)):
        warn(warning)
    if others := other_protocols(cells, records):
        warn(f"warning: {others}")
    if not {cell.key() for cell in cells} & {record["key"] for record in records}:
        raise ValueError(
            f"No record in {store.directory} belongs to this selection of table {table.number}; "
            "make them with python -m bench run and the same arguments."
        )
    return cells, records


def _committed(
    table: Table, kind: TableKind, args: argparse.Namespace
) -> tuple[Sequence[Identity], list[Record]]:
    """The selected cells of the committed reference, and their records.

    Raises:
        FileNotFoundError: no reference of this table is committed.
        ValueError: none of its cells is selected.
    """
    records = table_records(table.number)
    there = [identity_of(record["cell"]) for record in records]
    cells = kind.chosen(there, args)
    if cells and args.protocol is not None:
        cells = of_protocol(cells, args.protocol)
    if not cells:
        raise ValueError(f"The reference of table {table.number} has no cell of this selection.")
    lacking = missing_cells(cell for cell in cells if isinstance(cell, Cell))
    for sentence in missing_commands(table.number, lacking):
        warn(sentence)
    return kind.chosen([*cells, *lacking], args), records


def _view(name: str) -> Callable[[EditingView], TextTable]:
    """A view of a table of editing, by the option that asks for it."""
    from bench.tables import correlation, editing, significance

    return {
        "averages": editing.averages,
        "by_type": editing.by_kind,
        "correlate": correlation.rank_table,
        "significance": significance.comparison_table,
    }[name]
