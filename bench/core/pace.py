"""How fast something goes, and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Pace:
    """Things done of a total, since it was made."""

    total: int | None  # None: nobody knows
    done: int = 0
    before: int = 0  # of these by an earlier run
    clock: Callable[[], float] = time.monotonic
    _started: float = field(init=False)

    def __post_init__(self) -> None:
        self._started = self.clock()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self.clock() - self._started

    @property
    def rate(self) -> float | None:
        """Things a second; None before the first."""
        made = self.done - self.before
        return made / self.seconds if made > 0 and self.seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """At this rate; None where that cannot be told."""
        if self.total is None or self.rate is None:
            return None
        return max(self.total - self.done, 0) / self.rate

    def left_in_words(self) -> str:
        """As `, about 3 min left`; nothing where it cannot be told."""
        left = self.seconds_left
        return "" if left is None else f", about {in_words(left)} left"


def in_words(seconds: float) -> str:
    """A time, roughly: `20 s`, `3 min`, `1 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
