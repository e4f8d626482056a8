"""Progress of counted work: a bar on a terminal, a line now and then in a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from bench.core.console import one_line, warn
from bench.core.heartbeat import SECONDS, heartbeat
from bench.core.pace import Pace

T = TypeVar("T")


class _Rate(ProgressColumn):
    """Things a second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f}/s")


@contextmanager
def show_count(
    what: str, total: int | None, every: float = SECONDS
) -> Iterator[Callable[[int], None]]:
    """A function to call with how many more are done.

    Args:
        what: is counted, in the plural.
        total: how many there will be; None where nobody knows.
        every: seconds between two lines in a pipe.
    """
    console, pace = Console(stderr=True), Pace(total)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )

    def line() -> None:
        of = "" if total is None else f" of {total:,}"
        rate = "" if pace.rate is None else f", {pace.rate:.1f}/s"
        warn(f"{what}: {pace.done:,}{of}{rate}{pace.left_in_words()}")

    piped = not console.is_terminal
    with Progress(*columns, console=console, disable=piped, transient=True) as bar:
        task = bar.add_task(one_line(what), total=total)

        def more(count: int) -> None:
            pace.done += count
            bar.update(task, advance=count)

        if not piped:
            yield more
            return
        with heartbeat(line, every):
            yield more


def counted(items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    """Pass items on and show how many have been; see `show_count`."""
    with show_count(what, total) as more:
        for item in items:
            yield item
            more(1)
