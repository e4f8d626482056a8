"""Ending a run early: a flag that every worker looks at, and the signals that raise it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from bench.core.console import warn

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
        """Whether a stop was requested."""
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
        """While a job is done."""
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
