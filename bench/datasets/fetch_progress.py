"""Progress of a download: bytes, rate, time left; a line now and then in a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from bench.core.console import warn
from bench.core.heartbeat import heartbeat
from bench.core.pace import Pace
from bench.datasets.download import Told


@contextmanager
def show_bytes(name: str) -> Iterator[Told]:
    """What is told of a file's bytes, shown on standard error."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    piped, pace = not console.is_terminal, Pace(None)
    with Progress(*columns, console=console, disable=piped) as progress:
        task = progress.add_task(name, total=None)

        def tell(there: int, whole: int | None) -> None:
            pace.before = pace.before or there
            pace.done, pace.total = there, whole
            progress.update(task, completed=there, total=whole)

        def line() -> None:
            of = "" if pace.total is None else f" of {pace.total / 1e6:,.0f}"
            warn(f"{name}: {pace.done / 1e6:,.0f}{of} MB{pace.left_in_words()}")

        if not piped:
            yield tell
            return
        with heartbeat(line):
            yield tell
