"""Progress of a run: cells done, rate, time left; on a terminal only."""

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


def track(finished: Iterable[Finished], *, total: int) -> Iterator[Finished]:
    """Pass finished cells on and show them on standard error; nothing is shown in a pipe."""
    console = Console(stderr=True)
    progress = Progress(
        TextColumn("cells"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with progress:
        task = progress.add_task("cells", total=total, edits=0)
        edits = 0
        for one in finished:
            edits += one.edits
            state = f"failed: {one.error}" if one.error else f"{one.seconds:.1f} s"
            state = "found" if one.outcome == "found" else state
            progress.update(task, advance=1, edits=edits)
            if console.is_terminal:
                progress.console.print(
                    visible(f"{one.name}: {state}"), markup=False, highlight=False
                )
            yield one
