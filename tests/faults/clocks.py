"""Clocks that jump: `time.time` of a process, and the times of files."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Jump = Callable[[], float]  # seconds that are added to the clock at this moment


def backwards() -> Jump:
    """Each second takes the clock two back."""
    start = time.monotonic()
    return lambda: -2 * (time.monotonic() - start)


def wild(chance: random.Random) -> Jump:
    """Another year each time."""
    return lambda: chance.uniform(-1e9, 1e9)


def ahead() -> Jump:
    """A clock that is a day fast."""
    return lambda: 86_400.0


@contextmanager
def jumping(jump: Jump | None) -> Iterator[None]:
    """While the clock of this process jumps."""
    real = time.time
    if jump is not None:
        time.time = lambda: real() + jump()
    try:
        yield
    finally:
        time.time = real


def disturb(folder: Path, chance: random.Random) -> None:
    """Give the files of a folder other times, as a server whose clock is set does."""
    for path in folder.glob("*"):
        moment = time.time() + chance.uniform(-1e6, 1e6)
        with contextlib.suppress(OSError):
            os.utime(path, (moment, moment))
