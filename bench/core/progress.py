"""Long work: how far it is, and how it ends early.

Progress is a bar on a terminal, a line now and then in a pipe, and events for programs. All of it
goes to standard error, and work that ends at once prints nothing in a pipe. A flag that every
worker looks at ends work early; signals raise it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from bench.core import events
from bench.core.console import one_line, warn
from bench.core.events import SILENT, EventLog

if TYPE_CHECKING:
    from editors.parts.covariance import KeyMoments

T = TypeVar("T")

SECONDS = 30.0  # between two lines in a pipe; ours
MEASURED = 20.0  # of training, before its first estimate; ours
SCORES = ("reliability", "generality", "locality")  # of held-out edits, by data set
_LOSSES = ("running_loss", "held_out_loss")
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Pace:
    """How many things of a total are done, how fast, and how long the rest will take."""

    total: int | None  # None where it is not known
    done: int = 0
    before: int = 0  # of these by an earlier run
    clock: Callable[[], float] = time.monotonic
    _started: float = field(init=False)

    def __post_init__(self) -> None:
        self._started = self.clock()

    def begin(self, before: int) -> None:
        """The first is about to be done; so many were by an earlier run."""
        self._started, self.before = self.clock(), before

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self.clock() - self._started

    @property
    def rate(self) -> float | None:
        """Things a second; None before the first."""
        done, seconds = self.done - self.before, self.seconds
        return done / seconds if done > 0 and seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """At this rate; None where it is not known."""
        rate = self.rate
        if self.total is None or rate is None:
            return None
        return max(self.total - self.done, 0) / rate

    def left_in_words(self, about: str = "about") -> str:
        """As `, about 3 min left`; empty where it is not known."""
        left = self.seconds_left
        return "" if left is None else f", {about} {in_words(left)} left"


def in_words(seconds: float) -> str:
    """A time, roughly: `20 s`, `3 min`, `1 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def heartbeat(beat: Callable[[], None], seconds: float = SECONDS) -> Iterator[None]:
    """Call `beat` every so many seconds, from a thread of its own, until the block ends."""
    over = threading.Event()

    def keep_on() -> None:
        while not over.wait(seconds):
            with suppress(OSError):  # in writing: the main thread will meet it too
                beat()

    thread = threading.Thread(target=keep_on, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def show_busy(what: str, every: float = SECONDS) -> Iterator[None]:
    """Show what goes on, and for how long; nothing of it remains on a terminal."""
    console, pace = Console(stderr=True), Pace(None)
    if not console.is_terminal:
        with heartbeat(lambda: warn(f"{what}: {in_words(pace.seconds)} so far"), every):
            yield
        return
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        bar.add_task(one_line(what), total=None)
        yield


@contextmanager
def show_count(
    what: str, total: int | None, every: float = SECONDS
) -> Iterator[Callable[[int], None]]:
    """A function to call with how many more are done of what is counted, in the plural."""
    with _Counter(Pace(total), what, every=every, transient=True).shown() as counter:
        yield counter.more


def counted(items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    """Pass items on and show how many have been; see `show_count`."""
    with show_count(what, total) as more:
        for item in items:
            yield item
            more(1)


@contextmanager
def show_bytes(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """A function to call with the bytes of a file that are present, and of the whole if known."""
    with _Counter(Pace(None), f"{name}, kB").shown() as counter:

        def report(present: int, whole: int | None) -> None:
            counter.pace.total = None if whole is None else whole // 1000
            counter.at(present // 1000)

        yield report


@contextmanager
def show_documents(total: int, log: EventLog = SILENT) -> Iterator[Callable[[KeyMoments], None]]:
    """A function to call with what has been read of a corpus, which may hold fewer documents."""
    with _Counter(Pace(total), "documents", log=log, left="at most").shown() as counter:
        first: list[int] = []  # tokens of an earlier run

        def show(running: KeyMoments) -> None:
            first[:] = first or [running.tokens]
            speed = (running.tokens - first[0]) / max(counter.pace.seconds, 1e-9)
            counter.at(running.documents, f"{running.tokens:,} tokens at {speed:,.0f}/s")

        yield show


@contextmanager
def show_steps(log: EventLog = SILENT) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """A function to call with the numbers of each training step.

    Checkpoints get a line each, and so does what the first steps show of the time left.
    """
    with _Counter(Pace(None), "iterations", log=log).shown() as counter:
        pace, estimated = counter.pace, False

        def step(numbers: Mapping[str, float]) -> None:
            nonlocal estimated
            pace.total = int(numbers["iterations"])
            counter.at(int(numbers["iteration"]), f"loss {numbers['running_loss']:.3f}")
            if not estimated and pace.rate and pace.seconds >= MEASURED:
                estimated = True
                warn(
                    f"{1 / pace.rate:.3g} s an iteration on this machine{pace.left_in_words()}, "
                    "evaluations apart; Ctrl-C stops, and the same command continues."
                )
            if "held_out_loss" in numbers:
                counter.bar.console.print(
                    _checkpoint_line(numbers), markup=False, highlight=False, soft_wrap=True
                )

        yield step


def _checkpoint_line(numbers: Mapping[str, float]) -> str:
    shown = [f"{name} {value:.3f}" for name, value in numbers.items() if name in _LOSSES]
    scores = [  # `DATASET.SCORE`; a loss term may have the score's name alone
        f"{name} {100 * value:.1f}"
        for name, value in numbers.items()
        if "." in name and name.rpartition(".")[2] in SCORES
    ]
    return f"{int(numbers['iteration']):,}: " + ", ".join([*shown, *scores])


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f}/s")


class _Counter:
    """Counted work, on a bar or in lines, and in an event log."""

    def __init__(
        self,
        pace: Pace,
        what: str,
        *,
        log: EventLog = SILENT,
        every: float = SECONDS,
        left: str = "about",
        transient: bool = False,
    ) -> None:
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            _Rate(),
            TimeElapsedColumn(),
            TextColumn("left" if left == "about" else f"left {left}"),
            TimeRemainingColumn(),
        )
        self.pace = pace
        self.bar = Progress(
            *columns,
            console=console,
            disable=not console.is_terminal,
            transient=transient,
            speed_estimate_period=120,
        )
        self._task = self.bar.add_task(one_line(what), total=pace.total, state="")
        self._what, self._log, self._every, self._left = what, log, every, left
        self._state, self._begun = "", False

    @contextmanager
    def shown(self) -> Iterator[_Counter]:
        silent = not self.bar.disable and not self._log.is_on
        with self.bar, nullcontext() if silent else heartbeat(self._beat, self._every):
            yield self

    def more(self, count: int) -> None:
        self._begun = True
        self.at(self.pace.done + count)

    def at(self, done: int, state: str = "") -> None:
        """So many are done; those that the first call has are an earlier run's."""
        if not self._begun:
            self.pace.begin(done)
            self._begun = True
        self.pace.done, self._state = done, state
        self.bar.update(self._task, completed=done, total=self.pace.total, state=state)
        if self.pace.total is not None and done >= self.pace.total:
            self._write_event()

    def _beat(self) -> None:
        if self.bar.disable:
            warn(self._line())
        self._write_event()

    def _line(self) -> str:
        pace = self.pace
        parts = [f"{self._what}: {pace.done:,}" + (f" of {pace.total:,}" if pace.total else "")]
        parts += [self._state] if self._state else []
        parts += [] if pace.rate is None else [f"{pace.rate:.1f}/s"]
        return ", ".join(parts) + pace.left_in_words(self._left)

    def _write_event(self) -> None:
        pace, left = self.pace, self.pace.seconds_left
        self._log.write(
            events.Progress(
                what=self._what, done=pace.done, total=pace.total, rate=pace.rate, seconds_left=left
            )
        )


# ---- ending early ----------------------------------------------------------------------------


class StoppedEarly(BaseException):
    """A job ended before it had results, because a stop was requested; it has not failed.

    No exception that `except Exception` catches: whatever runs a job would else record a failure.
    """


class StopFlag:
    """Whether work should stop; requested once, from any thread, process or signal handler."""

    def __init__(self, elsewhere: Callable[[], bool] | None = None) -> None:
        """With `elsewhere`, a stop can be requested outside this process too."""
        self._asked = False
        self._elsewhere = elsewhere
        self._followers: list[Callable[[], None]] = []

    def request_stop(self) -> None:
        """Ask for the end; asking again changes nothing."""
        if not self._asked:
            self._asked = True
            for follow in self._followers:
                follow()

    def stop_requested(self) -> bool:
        if not self._asked and self._elsewhere is not None:
            self._asked = self._elsewhere()
        return self._asked

    def passed_on(self, follow: Callable[[], None]) -> None:
        """Call `follow` when a stop is requested; at once where it has been."""
        self._followers.append(follow)
        if self._asked:
            follow()


@dataclass
class Caught:
    """The signal that requested the stop, if any."""

    number: int | None = None

    @property
    def exit_code(self) -> int:
        """As shells have it: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + (self.number or signal.SIGINT)


@contextmanager
def stopped_by_signals(stop: StopFlag) -> Iterator[Caught]:
    """Let the first SIGINT or SIGTERM raise the flag, and a second one end the process at once.

    Earlier handlers are back afterwards. Outside the main thread, where no handler can be set,
    nothing is caught.
    """
    caught = Caught()

    def handle(number: int, _: FrameType | None) -> None:
        if caught.number is not None:
            _end(128 + number)
        caught.number = number
        with suppress(RuntimeError):  # in the midst of another line
            warn("stopping after the present edit or batch; a second signal ends at once.")
        stop.request_stop()

    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class WorkerSignals:
    """What signals do in a worker process that a run has started, as long as it lives.

    Ctrl-C reaches all processes of a terminal, and is left to the parent, which passes it on.
    SIGTERM ends a worker after its present edit, and an idle one at once. A worker whose parent
    is gone has nobody to work for.
    """

    def __init__(self, stop: StopFlag) -> None:
        self._stop = stop
        self._busy = self._ended = False
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._handle)
        threading.Thread(target=_end_with_parent, daemon=True).start()

    @contextmanager
    def busy(self) -> Iterator[None]:
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
            if self._ended:
                _end(128 + signal.SIGTERM)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if not self._busy or self._ended:
            _end(128 + number)
        self._ended = True
        self._stop.request_stop()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        _end(1)


def _end(code: int) -> None:
    """End this process and its workers, without waiting for what they do."""
    for child in multiprocessing.active_children():
        child.kill()
    sys.stdout.flush()
    os._exit(code)
