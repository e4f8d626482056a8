"""Tables printed, and written."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from bench.core.cells import Cell, Identity
from bench.core.config import RunConfig
from bench.core.console import say, show, warn
from bench.core.files import write_text
from bench.core.grids import Table
from bench.store.results import Record
from bench.tables import MAIN, view

if TYPE_CHECKING:
    from bench.tables import TextTable, View

READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


def show_table(
    table: Table,
    cells: Sequence[Identity],
    records: Sequence[Record],
    directory: Path,
    metric: str = MAIN,
) -> tuple[str, ...]:
    """Print the table of these cells and write it under a directory; the files."""
    shown = view(table, cells, records, metric)
    print_text(shown.text)
    return _write(f"table{table.number}", shown, directory)


def show_measures(
    table: Table,
    cells: Sequence[Identity],
    records: Sequence[Record],
    config: RunConfig,
    *,
    markdown: bool = False,
) -> tuple[str, ...]:
    """A table for each optional metric set; the files that were written."""
    from bench.tables.metric_sets import view as view_of_set

    paths: tuple[str, ...] = ()
    for name in config.measure:
        shown = view_of_set(name, table, cast("Sequence[Cell]", cells), records)
        if markdown:
            print_markdown(shown.text)
            continue
        print_text(shown.text)
        paths += _write(f"table{table.number}_{name}", shown, config.tables)
    return paths


def show_losses(
    table: Table,
    cells: Sequence[Identity],
    records: Sequence[Record],
    directory: Path,
    *,
    markdown: bool,
) -> None:
    """Print the accuracy drop from teacher forcing to free generation, and write it as CSV.

    As Markdown it is printed alone.
    """
    from bench.tables.metric_loss import by_step, losses, to_csv

    by_key = {record["key"]: record for record in records}
    rows = losses([by_key[key] for cell in cells if (key := cell.key()) in by_key])
    text = by_step(table, rows)
    if markdown:
        print_markdown(text)
        return
    print_text(text)
    path = directory / f"table{table.number}_metric_loss.csv"
    _written(directory, lambda: [write_text(path, to_csv(rows))])


def print_text(text: TextTable) -> None:
    """Print the caption, then one table per group of columns."""
    from bench.tables.render import terminal

    for line in text.caption:
        say(line)
    for rich_table in terminal(text):
        show(rich_table)


def print_markdown(text: TextTable) -> None:
    """Print a table as Markdown."""
    from bench.tables.render import markdown

    for line in markdown(text).splitlines():
        say(line)


def _write(stem: str, shown: View, directory: Path) -> tuple[str, ...]:
    from bench.tables.render import write_table

    return _written(directory, lambda: write_table(stem, shown, directory))


def _written(directory: Path, write: Callable[[], Sequence[Path]]) -> tuple[str, ...]:
    """Write files, unless their directory is read-only, and say where they are."""
    try:
        paths = write()
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        warn(f"warning: the table is not written: {error.strerror}: {directory}.")
        return ()
    say("written: " + ", ".join(map(str, paths)))
    return tuple(map(str, paths))
