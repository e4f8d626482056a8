"""Progress of a run: cells and edits done, rates, time left; a line now and then in a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bench.core.console import visible, warn
from bench.core.heartbeat import SECONDS, heartbeat
from bench.runner.cell_progress import CellProgress
from bench.runner.worker import Finished

_REFRESH = 1.0  # seconds between two looks at the cells, on a terminal; ours


def track(
    finished: Iterable[Finished], progress: CellProgress, *, every: float = SECONDS
) -> Iterator[Finished]:
    """Pass finished cells on, counted, and show on standard error how far they are.

    On a terminal that is a bar and a line for each cell, in a pipe a line now and then.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        yield from _barred(finished, progress, console)
    else:
        yield from _lined(finished, progress, every)


def _lined(
    finished: Iterable[Finished], progress: CellProgress, every: float
) -> Iterator[Finished]:
    def line() -> None:
        now = progress.now()
        if now.done < now.total:
            warn(f"cells: {now.in_words()}")

    with heartbeat(line, every):
        for one in finished:
            progress.ended(one)
            yield one


def _barred(
    finished: Iterable[Finished], progress: CellProgress, console: Console
) -> Iterator[Finished]:
    columns = TextColumn("cells"), BarColumn(), TextColumn("{task.fields[far]}")
    with Progress(*columns, TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("cells", total=1.0, far="")

        def show() -> None:
            now = progress.now()
            bar.update(task, completed=now.share, far=now.in_words())

        with heartbeat(show, _REFRESH):
            show()
            for one in finished:
                progress.ended(one)
                state = f"failed: {one.error}" if one.error else f"{one.seconds:.1f} s"
                state = "found" if one.outcome == "found" else state
                bar.console.print(visible(f"{one.name}: {state}"), markup=False, highlight=False)
                show()
                yield one
