"""Progress of a pre-training: a bar on a terminal, a line now and then in a pipe."""

from __future__ import annotations

import time
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
    from bench.world.pretrain import Progress as Report

PIPE_EVERY = 250  # steps between two lines in a pipe


def step_progress(name: str) -> Report:
    """A function to call with (step, steps, loss); shows loss, rate and time left."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn(f"{name}  loss {{task.fields[loss]:.3f}}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.2f} steps/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    task = bar.add_task(name, total=None, loss=float("nan"), rate=0.0)
    first: tuple[int, float] | None = None  # (step, time) of the first report of this stage

    def report(step: int, steps: int, loss: float) -> None:
        nonlocal first
        if first is None:
            bar.start()
        if first is None or step < first[0]:  # a stage behind another counts from its own start
            first = step, time.perf_counter()
        done, seconds = step - first[0], time.perf_counter() - first[1]
        rate = done / seconds if done else 0.0
        bar.update(task, completed=step, total=steps, loss=loss, rate=rate)
        if not console.is_terminal and step % PIPE_EVERY == 0:
            left = f"{(steps - step) / rate / 60:.0f} min left" if rate else ""
            console.print(f"{name} {step}/{steps} loss {loss:.3f} {rate:.2f} steps/s {left}")
        if step >= steps:
            bar.stop()

    return report
