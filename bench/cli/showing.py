"""A table printed, and written."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.cells import Identity
from bench.core.grids import Table
from bench.store.results import Record
from bench.tables import MAIN

if TYPE_CHECKING:
    from bench.tables import TextTable, View


READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


def show(
    table: Table,
    cells: Sequence[Identity],
    records: Iterable[Record],
    directory: Path,
    metric: str = MAIN,
) -> tuple[str, ...]:
    """Print the table of these cells and write it under `directory`; see `written`."""
    from bench.tables import view

    shown = view(table, cells, records, metric)
    show_text(shown.text)
    return written(f"table{table.number}", shown, directory)


def written(stem: str, shown: View, directory: Path) -> tuple[str, ...]:
    """Write a table under `directory`, if that is not read-only, and say where it is.

    Returns the files that were written.
    """
    from bench.core import console
    from bench.tables.render import write_table

    try:
        paths = write_table(stem, shown, directory)
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        console.warn(f"warning: the table is not written: {error.strerror}: {directory}.")
        return ()
    console.say("written: " + ", ".join(map(str, paths)))
    return tuple(map(str, paths))


def show_text(text: TextTable) -> None:
    """Print the caption, then one table per group of columns."""
    from bench.core import console
    from bench.tables.render import terminal

    for line in text.caption:
        console.say(line)
    for rich_table in terminal(text):
        console.show(rich_table)


def print_markdown(text: TextTable) -> None:
    """Print a table as Markdown."""
    from bench.core import console
    from bench.tables.render import markdown

    for line in markdown(text).splitlines():
        console.say(line)
