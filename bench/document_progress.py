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

from bench.heartbeat import SECONDS
from bench.pace import in_words

if TYPE_CHECKING:
    from editors.parts.covariance import KeyMoments


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
        first: list[int] = []  # as `resumed`, of documents
        resumed: list[int] = []  # tokens that an earlier run had counted, at the first call

        def show(running: KeyMoments) -> None:
            nonlocal said
            if not resumed:
                resumed.append(running.tokens)
                first.append(running.documents)
            now = time.monotonic()
            rate = (running.tokens - resumed[0]) / max(now - started, 1e-9)
            state = f"{running.tokens:,} tokens, {rate:,.0f}/s"
            bar.update(task, completed=running.documents, state=state)
            if piped and now - said > SECONDS:
                read = max(running.documents - first[0], 1)
                left = in_words((now - started) * (total - running.documents) / read)
                console.print(
                    f"{running.documents:,}/{total:,} documents, {state}, at most {left} left"
                )
                said = now

        yield show
