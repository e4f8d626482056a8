"""How far a run is: the cells that have ended, and the edits of those that are being computed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.core.pace import Pace, in_words
from bench.evaluation.checkpointing import EditCount
from bench.evaluation.jobs import Job
from bench.evaluation.record_kinds import edits_in
from bench.runner.worker import Finished
from bench.store.leases import Leases


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far it is at a moment."""

    done: int  # cells that have ended
    total: int
    share: float  # of all cells, in [0, 1]; a cell counts by its edits until it ends
    edits: int  # that have been made, in cells that have not ended too
    edits_total: int | None  # None where only the data tells
    rate: float | None  # cells a second
    edits_rate: float | None  # edits a second
    seconds_left: float | None

    def in_words(self) -> str:
        """As `3 of 99, 1,200 edits, 30.1 cells/min, 25.0 edits/s, about 2 min left`."""
        parts = [f"{self.done:,} of {self.total:,}"]
        if self.edits:
            of = f" of {self.edits_total:,}" if self.edits_total is not None else ""
            parts.append(f"{self.edits:,}{of} edits")
        if self.rate is not None and 60 * self.rate >= 0.05:  # else it is shown as zero
            parts.append(f"{60 * self.rate:.1f} cells/min")
        if self.edits_rate is not None:
            parts.append(f"{self.edits_rate:.1f} edits/s")
        if self.seconds_left:
            parts.append(f"about {in_words(self.seconds_left)} left")
        return ", ".join(parts)


class CellProgress:
    """Follows the cells of some jobs, whichever processes compute them, by their leases."""

    def __init__(
        self,
        jobs: Sequence[Job],
        leases: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`leases` is the folder of them."""
        self._sizes = {job.cell.key(): edits_in(job.cell) for job in jobs}
        self._leases = Leases(leases)
        self._lock = threading.Lock()
        self._pace = Pace(None, clock=clock)
        self._ended: dict[str, int] = {}  # with the edits of each
        self._seen: dict[str, EditCount] = {}  # what leases have last said
        self._before: dict[str, int] = {}  # edits that were there before this began
        for key, made in self._running().items():
            self._before[key] = made.edits

    def ended(self, one: Finished) -> None:
        """Count a cell that has ended."""
        with self._lock:
            elsewhere = self._seen.get(one.key, EditCount()).edits if one.outcome == "found" else 0
            self._ended[one.key] = one.edits or elsewhere
            self._not_here(one.key, one.earlier)

    def now(self) -> Standing:
        """How far it is; leases are read."""
        running = self._running()
        with self._lock:
            running = {key: made for key, made in running.items() if key not in self._ended}
            self._seen |= running
            for key, made in running.items():
                self._not_here(key, made.earlier)
            return self._standing(running)

    def _running(self) -> dict[str, EditCount]:
        held = [key for key in self._leases.held() if key in self._sizes]
        return {key: self._leases.progress(key) for key in held}

    def _not_here(self, key: str, edits: int) -> None:
        """So many edits of a cell are of an earlier run."""
        self._before[key] = max(self._before.get(key, 0), edits)

    def _standing(self, running: dict[str, EditCount]) -> Standing:
        total, sizes = len(self._sizes), list(self._sizes.values())
        known = [size for size in sizes if size is not None]
        edits = self._ended | {key: made.edits for key, made in running.items()}
        here = {key: max(n - self._before.get(key, 0), 0) for key, n in edits.items()}
        done = len(self._ended) + sum(self._share(key, made.edits) for key, made in running.items())
        # A cell that ended is one, less what was there of it; one that failed before that is whole.
        gained = sum(
            self._share(key, n) if key in running else 1.0 - self._share(key, edits[key] - n)
            for key, n in here.items()
        )
        seconds = self._pace.seconds
        rate = gained / seconds if gained > 0 and seconds > 0 else None
        # What comes behind the edits of a cell takes a time that nobody knows.
        only_asked = bool(running) and done == total
        made = sum(here.values())
        return Standing(
            done=len(self._ended),
            total=total,
            share=done / total if total else 1.0,
            edits=sum(edits.values()),
            edits_total=sum(known) if len(known) == len(sizes) else None,
            rate=rate,
            edits_rate=made / seconds if made > 0 and seconds > 0 else None,
            seconds_left=None if rate is None or only_asked else (total - done) / rate,
        )

    def _share(self, key: str, edits: int) -> float:
        """The part of a cell that so many edits are."""
        size = self._sizes[key]
        return min(edits / size, 1.0) if size else 0.0
