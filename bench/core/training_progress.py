"""Progress of a training: losses, rate, time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

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

SCORES = ("reliability", "generality", "locality")  # of held-out edits, by data set
_LOSSES = ("running_loss", "held_out_loss")


@contextmanager
def show_steps(log: EventLog = SILENT) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """A progress line on standard error with losses, rate and time left.

    A pipe gets a line at each checkpoint, and one now and then, and so do programs.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("step"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    piped = not console.is_terminal
    with Progress(*columns, console=console, disable=piped, speed_estimate_period=120) as bar:
        task = bar.add_task("training", state="")
        clock, to_people, to_programs = _Clock(), Due(), Due()

        def step(numbers: Mapping[str, float]) -> None:
            rate = clock.rate()
            state = f"loss {numbers['running_loss']:.3f}, {rate:.1f}/s"
            total, completed = numbers["iterations"], numbers["iteration"]
            bar.update(task, total=total, completed=completed, state=state)
            if log.is_on and (to_programs.is_now() or completed >= total):
                log.tell(counted("iterations", int(completed), int(total), rate))
            if piped and to_people.is_now():
                left = in_words((total - completed) / rate)
                console.print(f"{completed:,.0f}/{total:,.0f}: {state}, {left} left")
            if "held_out_loss" in numbers:
                bar.console.print(
                    _checkpoint_line(numbers), markup=False, highlight=False, soft_wrap=True
                )

        yield step


class _Clock:
    """Calls per second since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._calls = 0

    def rate(self) -> float:
        self._calls += 1
        return self._calls / (time.perf_counter() - self._start)


def _checkpoint_line(numbers: Mapping[str, float]) -> str:
    shown = [f"{name} {value:.3f}" for name, value in numbers.items() if name in _LOSSES]
    scores = [  # `DATASET.SCORE`; a loss term may have the score's name alone
        f"{name} {100 * value:.1f}"
        for name, value in numbers.items()
        if "." in name and name.rpartition(".")[2] in SCORES
    ]
    return f"{int(numbers['iteration']):,}: " + ", ".join([*shown, *scores])
