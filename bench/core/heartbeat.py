"""Doing something now and then while the main thread is busy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

SECONDS = 30.0  # between two lines in a pipe; ours


class Due:
    """Tells, when asked, whether it is time again: so long after the last time, or the start."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._last = time.monotonic()

    def is_now(self) -> bool:
        """Whether it is; the next time is counted from then."""
        now = time.monotonic()
        due = now - self._last >= self._seconds
        self._last = now if due else self._last
        return due


@contextmanager
def heartbeat(beat: Callable[[], None], seconds: float = SECONDS) -> Iterator[None]:
    """Call `beat` every so many seconds, from a thread of its own, until the block ends.

    What cannot be written there is for the main thread to meet.
    """
    over = threading.Event()

    def keep_on() -> None:
        while not over.wait(seconds):
            with suppress(OSError):
                beat()

    thread = threading.Thread(target=keep_on, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
