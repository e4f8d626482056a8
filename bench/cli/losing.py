"""The metric-loss table in the terminal and as CSV, for `tables --metric-loss`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.cli.showing import READ_ONLY, print_markdown, show_text
from bench.core.cells import Identity
from bench.core.grids import Table
from bench.store.results import Record


def show_losses(
    table: Table,
    cells: Sequence[Identity],
    records: Sequence[Record],
    directory: Path,
    *,
    markdown: bool,
) -> None:
    """Print what is lost from the printed metric to decoded answers, and write all of it as CSV.

    As Markdown it is printed alone; to a folder that is read-only nothing is written.
    """
    from bench.core.console import say, warn
    from bench.core.files import write_text
    from bench.tables.metric_loss import by_step, losses, to_csv

    by_key = {record["key"]: record for record in records}
    found = losses([by_key[key] for cell in cells if (key := cell.key()) in by_key])
    text = by_step(table, found)
    if markdown:
        print_markdown(text)
        return
    show_text(text)
    try:
        path = write_text(directory / f"table{table.number}_metric_loss.csv", to_csv(found))
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        warn(f"warning: the table is not written: {error.strerror}: {directory}.")
        return
    say(f"written: {path}")
