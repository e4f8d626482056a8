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
    from bench.tables.measure_table import by_dataset, measure_data, to_csv

    paths: tuple[str, ...] = ()
    for name in args.measure:
        data = measure_data(name, table, cast("Sequence[Cell]", cells), records)
        text = by_dataset(data)
        if vars(args).get("markdown"):
            print_markdown(text)
            continue
        show_text(text)
        directory = arguments.tables_directory(args)
        paths += written(f"table{table.number}_{name}", text, to_csv(data), directory)
    return paths
