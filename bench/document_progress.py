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

if TYPE_CHECKING:
    from editors.parts.covariance import KeyMoments

PIPE_SECONDS = 60.0  # between two lines in a pipe


@contextmanager
def show_documents(total: int) -> Iterator[Callable[[KeyMoments], None]]:
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
        started = said = time.monotonic()
        resumed: list[int] = []  # tokens that an earlier run had counted, at the first call

        def show(running: KeyMoments) -> None:
            nonlocal said
            if not resumed:
                resumed.append(running.tokens)
            now = time.monotonic()
            rate = (running.tokens - resumed[0]) / max(now - started, 1e-9)
            state = f"{running.tokens:,} tokens, {rate:,.0f}/s"
            bar.update(task, completed=running.documents, state=state)
            if piped and now - said > PIPE_SECONDS:
                console.print(f"{running.documents:,}/{total:,} documents, {state}")
                said = now

        yield show
