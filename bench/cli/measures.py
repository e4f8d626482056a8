"""The tables of optional metric sets, printed and written."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import cast

from bench.cli import arguments
from bench.cli.showing import print_markdown, show_text, written
from bench.core.cells import Cell, Identity
from bench.core.grids import Table
from bench.store.results import Record


def show_measures(
    table: Table, cells: Sequence[Identity], records: Sequence[Record], args: argparse.Namespace
) -> tuple[str, ...]:
    """A table for each set that was asked for; the files that were written.

    Raises:
        ValueError: cells of several protocols.
    """
    from bench.tables.metric_sets import view

    paths: tuple[str, ...] = ()
    for name in args.measure:
        shown = view(name, table, cast("Sequence[Cell]", cells), records)
        if vars(args).get("markdown"):
            print_markdown(shown.text)
            continue
        show_text(shown.text)
        directory = arguments.tables_directory(args)
        paths += written(f"table{table.number}_{name}", shown, directory)
    return paths
