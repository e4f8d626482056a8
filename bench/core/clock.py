"""Wall time by phase, accelerator work included."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch

T = TypeVar("T")


@dataclass
class Clock:
    """Adds up seconds by phase; queued device work is waited for at both ends of a phase."""

    device: torch.device
    seconds: dict[str, float] = field(default_factory=dict)
    _begun: dict[str, float] = field(default_factory=dict)  # phases that are not over

    def so_far(self) -> dict[str, float]:
        """Seconds by phase, those of a phase that is not over included."""
        now, seconds = time.perf_counter(), dict(self.seconds)
        for name, start in self._begun.items():
            seconds[name] = seconds.get(name, 0.0) + now - start
        return seconds

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of the `with` block to a phase, also when it raises."""
        self._synchronise()
        start = self._begun[name] = time.perf_counter()
        try:
            yield
        finally:
            self._synchronise()
            del self._begun[name]
            self.add(name, time.perf_counter() - start)

    def timed(self, name: str, work: Callable[[T], None], argument: T) -> float:
        """Do `work(argument)`; its own seconds, which go to the phase too."""
        before = self.seconds.get(name, 0.0)
        with self.phase(name):
            work(argument)
        return self.seconds[name] - before

    def add(self, name: str, seconds: float) -> None:
        """Count seconds that passed elsewhere as a phase's."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
