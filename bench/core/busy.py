"""Work of unknown length: a spinner on a terminal, a line now and then in a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bench.core.console import one_line, warn
from bench.core.heartbeat import SECONDS, heartbeat
from bench.core.pace import Pace, in_words


@contextmanager
def show_busy(what: str, every: float = SECONDS) -> Iterator[None]:
    """Say on standard error what goes on, and for how long; nothing is left of it on a terminal.

    Args:
        what: goes on, as `loading mini-llama`.
        every: seconds between two lines in a pipe.
    """
    console, pace = Console(stderr=True), Pace(None)
    if not console.is_terminal:
        with heartbeat(lambda: warn(f"{what}: {in_words(pace.seconds)} so far"), every):
            yield
        return
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        bar.add_task(one_line(what), total=None)
        yield
