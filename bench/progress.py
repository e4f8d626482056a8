"""Progress of a run: cells done, rate, time left; a line now and then in a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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

from bench.console import warn
from bench.heartbeat import SECONDS, heartbeat
from bench.pace import Pace
from bench.visible import visible
from bench.worker import Finished


class _Rate(ProgressColumn):
    """Cells and edits per second since the start."""

    def render(self, task: Task) -> Text:
        elapsed = task.finished_time or task.elapsed or 0.0
        if not elapsed or not task.completed:
            return Text("")
        edits = task.fields["edits"] / elapsed
        return Text(f"{60 * task.completed / elapsed:.1f} cells/min, {edits:.1f} edits/s")


def track(
    finished: Iterable[Finished], *, total: int, every: float = SECONDS
) -> Iterator[Finished]:
    """Pass finished cells on and show them on standard error, in a pipe a line now and then."""
    console = Console(stderr=True)
    if console.is_terminal:
        yield from _barred(finished, total, console)
    else:
        yield from _lined(finished, total, every)


def _lined(finished: Iterable[Finished], total: int, every: float) -> Iterator[Finished]:
    pace, edits = Pace(total), 0

    def line() -> None:
        if pace.done == total:
            return
        rates = ""
        if pace.rate is not None:
            rates = f", {60 * pace.rate:.1f} cells/min, {edits / pace.seconds:.1f} edits/s"
        warn(f"cells: {pace.done:,} of {total:,}{rates}{pace.left_in_words()}")

    with heartbeat(line, every):
        for one in finished:
            edits += one.edits
            pace.done += 1
            yield one


def _barred(finished: Iterable[Finished], total: int, console: Console) -> Iterator[Finished]:
    progress = Progress(
        TextColumn("cells"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )
    with progress:
        task = progress.add_task("cells", total=total, edits=0)
        edits = 0
        for one in finished:
            edits += one.edits
            state = f"failed: {one.error}" if one.error else f"{one.seconds:.1f} s"
            state = "found" if one.outcome == "found" else state
            progress.update(task, advance=1, edits=edits)
            progress.console.print(visible(f"{one.name}: {state}"), markup=False, highlight=False)
            yield one
