"""Progress of reading a corpus: documents, tokens, rate, time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from bench.core.events import SILENT, EventLog, counted
from bench.core.heartbeat import Due
from bench.core.pace import in_words

if TYPE_CHECKING:
    from editors.parts.covariance import KeyMoments


@contextmanager
def show_documents(total: int, log: EventLog = SILENT) -> Iterator[Callable[[KeyMoments], None]]:
    """A bar on standard error, or a line now and then where that is a pipe.

    A corpus may hold fewer documents than the `total` that is read at most.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("documents"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
        TextColumn("left at most"),
        TimeRemainingColumn(),
    )
    piped = not console.is_terminal
    with Progress(*columns, console=console, disable=piped) as bar:
        task = bar.add_task("documents", total=total, state="")
        course = _Course(total)
        to_people, to_programs = Due(), Due()

        def show(running: KeyMoments) -> None:
            course.is_at(running)
            bar.update(task, completed=running.documents, state=course.state)
            if log.is_on and (to_programs.is_now() or running.documents >= total):
                log.tell(counted("documents", running.documents, total, course.rate))
            if piped and to_people.is_now():
                console.print(
                    f"{running.documents:,}/{total:,} documents, {course.state}, "
                    f"at most {in_words(course.seconds_left)} left"
                )

        yield show


class _Course:
    """Rates since the first call; an earlier run may have counted documents before it."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._started = time.monotonic()
        self._first: tuple[int, int] | None = None  # documents and tokens
        self.rate = 0.0  # documents a second
        self.seconds_left = 0.0
        self.state = ""

    def is_at(self, running: KeyMoments) -> None:
        """Take in how far reading is."""
        if self._first is None:
            self._first = running.documents, running.tokens
        documents, tokens = self._first
        seconds = max(time.monotonic() - self._started, 1e-9)
        self.rate = (running.documents - documents) / seconds
        per_document = seconds / max(running.documents - documents, 1)
        self.seconds_left = per_document * (self._total - running.documents)
        speed = (running.tokens - tokens) / seconds
        self.state = f"{running.tokens:,} tokens, {speed:,.0f}/s"
