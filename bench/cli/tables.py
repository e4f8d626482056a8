"""The `tables` command: a table from stored records only."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.arguments import Option, add_command, add_groups, config_of, one_of
from bench.cli.options import PROTOCOL, SELECTION
from bench.cli.showing import (
    print_markdown,
    print_text,
    show_losses,
    show_measures,
    show_table,
)
from bench.core.cells import Cell
from bench.core.console import say
from bench.runner.stored import Stored, stored
from bench.store.reference import add_to_reference, write_reference
from bench.tables import MAIN, METRIC_OPTIONS, view

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from bench.tables import TextTable
    from bench.tables.editing import EditingView

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
      the accuracy drop from teacher forcing to free generation
  python -m bench tables --table 1 --metric generated
      exact matches of greedy answers
  python -m bench tables --table 1 --measure retention
      how much of old edits remains, of cells that were run with this metric set
  python -m bench tables --table 1 --out runs/mine --editors recipe,ft --edits 10,100
      part of the table, of the records in runs/mine
"""


VIEWS = ("averages", "by_type", "correlate", "significance")
COMMON = (
    "table", "preset", "backbone", "editors", "datasets", "edits", "seeds", "limit", "data_dir",
    "out", "reference", "metric", "averages", "by_type", "significance", "correlate", "markdown",
    "export",
)  # fmt: skip


# fmt: off
VIEWED = (  # one of these
    Option("--by-type", "", "RippleEdits by type of probe, in the terminal"),
    Option("--averages", "", "Avg alone, a column per data set"),
    Option("--correlate", "", "rank correlation of our Avg with the published one over the "
           "editors, per number of edits, in the terminal"),
    Option("--significance", "", "RECIPE against every other editor over the seeds, in the "
           "terminal"),
    Option("--metric-loss", "", "accuracy drop from teacher forcing to free generation, and to "
           "retrieval that sees the prompt alone; in the terminal and as CSV"),
    Option("--export", "FILE", "write the records, without their rows, as JSON lines", Path),
)
SHOWN = (
    Option("--add", "", "with --export, leave the records of other cells in FILE"),
    Option("--reference", "", "of the committed reference results, instead of the records in "
           "results/"),
    Option("--markdown", "", "print the table or its averages as Markdown, and write nothing"),
    Option("--metric", "NAME", f"{', '.join(METRIC_OPTIONS)} (default: {MAIN}, the paper's)",
           one_of("metric", METRIC_OPTIONS)),
)
# fmt: on


def add_commands(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `tables`."""
    parser = add_command(
        subparsers,
        "tables",
        summary="print and write a table from stored records",
        description="Print and write a table from stored records. Give the same data, backbone "
        "and limits as to `run`; without --seeds, all stored seeds are taken.",
        examples=EXAMPLES,
        common=COMMON,
    )
    add_groups(parser, SELECTION | {"what is shown": (VIEWED, *SHOWN, PROTOCOL)})
    parser.set_defaults(func=tables)


def tables(args: argparse.Namespace) -> int:
    """Exit code 0; no record at all is an error."""
    if args.add and args.export is None:
        raise ValueError("--add is for --export FILE alone.")
    config = config_of(args)
    given = [name for name in (*VIEWS, "metric_loss", "metric") if vars(args)[name]]
    if config.measure and set(given) - {"metric_loss"}:
        raise ValueError(
            f"--measure has tables of its own and takes no --{given[0].replace('_', '-')}."
        )
    selected = stored(config, reference=args.reference, protocol=args.protocol, views=given)
    if args.export is not None:
        keys = {cell.key() for cell in selected.cells}
        records = [record for record in selected.records if record["key"] in keys]
        path = (add_to_reference if args.add else write_reference)(args.export, records)
        say(f"written: {path}, {len(records):,} records")
    else:
        _show(args, selected, config.tables)
    return 0


def _show(args: argparse.Namespace, selected: Stored, directory: Path) -> None:
    cells = selected.table, selected.cells, selected.records
    metric = args.metric or MAIN
    if args.metric_loss:
        show_losses(*cells, directory, markdown=args.markdown)
    elif args.measure:
        show_measures(*cells, config_of(args), markdown=args.markdown)
    elif chosen := [name for name in VIEWS if vars(args)[name]]:
        from bench.tables.editing import view as view_of_editing

        editing = [
            cell for cell in selected.cells if isinstance(cell, Cell)
        ]  # all of them for views
        shown = view_of_editing(selected.table, editing, selected.records, METRIC_OPTIONS[metric])
        markdown = args.markdown and chosen[0] == "averages"
        (print_markdown if markdown else print_text)(_view(chosen[0])(shown))
    elif args.markdown:
        print_markdown(view(*cells, metric).text)
    else:
        show_table(*cells, directory, metric)


def _view(name: str) -> Callable[[EditingView], TextTable]:
    """A view of a table of editing, by the option that selects it."""
    from bench.tables import correlation, editing, significance

    return {
        "averages": editing.averages,
        "by_type": editing.by_kind,
        "correlate": correlation.rank_table,
        "significance": significance.comparison_table,
    }[name]
