"""What looks on while cells are computed: a display for people, events for programs.

An observer is called by `bench.runner.run.execute`, and calls nothing back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bench import __version__
from bench.core import events
from bench.core.console import visible, warn
from bench.core.events import EventLog, event_log
from bench.core.progress import SECONDS, Pace, in_words
from bench.evaluation.jobs import Job
from bench.evaluation.record_kinds import edits_in, names_of
from bench.store.results import ResultStore

if TYPE_CHECKING:
    from bench.evaluation.checkpointing import EditCount
    from bench.runner.executors.base import Finished


class Observer:
    """Base of all: does nothing."""

    def planned(self, *, cells: int, todo: int) -> None:
        """The run has so many cells, of which `todo` are to be computed."""

    def started(self, progress: CellProgress) -> None:
        """Cells will be computed; how far they are can be read from now on."""

    def beat(self) -> None:
        """About a second has passed; called from a thread of its own."""

    def finished(self, cell: Finished) -> None:
        """A cell has ended; `progress` has counted it."""

    def ended(self, *, stopped: bool) -> None:
        """No more cells are computed: all are done, or a signal or an error came."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """How far the cells are at a moment."""

    done: int  # cells that have ended
    total: int
    share: float  # of all cells, in [0, 1]; a cell counts by its edits until it ends
    edits: int  # so far, in cells that have not ended too
    edits_total: int | None  # None where it is not known
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
    """Follows the cells of some jobs by their leases, whichever processes compute them."""

    def __init__(
        self, jobs: Sequence[Job], store: ResultStore, clock: Callable[[], float] = time.monotonic
    ) -> None:
        from bench.store.running import Leases  # with torch, which a finished run needs not

        self.store = store
        self.cells = {job.cell.key(): job.cell for job in jobs}
        self.done = 0
        self._sizes = {key: edits_in(cell) for key, cell in self.cells.items()}
        self._leases = Leases(store.leases)
        self._lock = threading.Lock()
        self._pace = Pace(None, clock=clock)
        self._ended: dict[str, int] = {}  # with the edits of each
        self._seen: dict[str, EditCount] = {}  # what leases last reported
        # Edits of earlier runs.
        self._before = {key: count.edits for key, count in self._running().items()}

    def ended(self, cell: Finished) -> None:
        with self._lock:
            elsewhere = cell.outcome == "found" and cell.key in self._seen
            self._ended[cell.key] = self._seen[cell.key].edits if elsewhere else cell.edits
            self._was_before(cell.key, cell.earlier)
            self.done = len(self._ended)

    def running(self) -> list[str]:
        return [key for key in self._leases.held() if key in self._sizes]

    def now(self) -> Snapshot:
        """How far the cells are; leases are read."""
        there = self._running()
        with self._lock:
            running = {key: count for key, count in there.items() if key not in self._ended}
            self._seen |= running
            for key, count in running.items():
                self._was_before(key, count.earlier)
            return self._snapshot(running)

    def _running(self) -> dict[str, EditCount]:
        return {key: self._leases.progress(key) for key in self.running()}

    def _was_before(self, key: str, edits: int) -> None:
        """So many edits of a cell are an earlier run's."""
        self._before[key] = max(self._before.get(key, 0), edits)

    def _snapshot(self, running: Mapping[str, EditCount]) -> Snapshot:
        total, sizes = len(self._sizes), list(self._sizes.values())
        known = [size for size in sizes if size is not None]
        edits = self._ended | {key: count.edits for key, count in running.items()}
        here = {key: max(n - self._before.get(key, 0), 0) for key, n in edits.items()}
        shares = (self._share(key, count.edits) for key, count in running.items())
        done = len(self._ended) + sum(shares)
        # A cell that ended counts one, less what was there of it before; one that failed before
        # its edits counts one.
        gained = sum(
            self._share(key, n) if key in running else 1.0 - self._share(key, edits[key] - n)
            for key, n in here.items()
        )
        seconds = self._pace.seconds
        rate = gained / seconds if gained > 0 and seconds > 0 else None
        # What follows the edits of a cell takes a time that is not known.
        only_probed = bool(running) and done == total
        new = sum(here.values())
        return Snapshot(
            done=len(self._ended),
            total=total,
            share=done / total if total else 1.0,
            edits=sum(edits.values()),
            edits_total=sum(known) if len(known) == len(sizes) else None,
            rate=rate,
            edits_rate=new / seconds if new > 0 and seconds > 0 else None,
            seconds_left=None if rate is None or only_probed else (total - done) / rate,
        )

    def _share(self, key: str, edits: int) -> float:
        """The part of a cell that so many edits are."""
        size = self._sizes[key]
        return min(edits / size, 1.0) if size else 0.0


class Display(Observer):
    """Cells and edits done, rates, time left: a bar and a line for each cell on a terminal.

    In a pipe it is a line now and then.
    """

    def __init__(self, every: float = SECONDS) -> None:
        self._every = every  # seconds between two lines in a pipe
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def started(self, progress: CellProgress) -> None:
        self._progress, self._last = progress, time.monotonic()
        console = Console(stderr=True)
        if console.is_terminal:
            columns = TextColumn("cells"), BarColumn(), TextColumn("{task.fields[far]}")
            self._bar = Progress(*columns, TimeElapsedColumn(), console=console)
            self._task = self._bar.add_task("cells", total=1.0, far="")
            self._bar.start()
            self.beat()

    def beat(self) -> None:
        if self._bar is not None:
            now = self._progress.now()
            self._bar.update(self._task, completed=now.share, far=now.in_words())
        elif time.monotonic() - self._last >= self._every:
            self._last, now = time.monotonic(), self._progress.now()
            if now.done < now.total:
                warn(f"cells: {now.in_words()}")

    def finished(self, cell: Finished) -> None:
        if self._bar is not None:
            state = f"failed: {cell.error}" if cell.error else f"{cell.seconds:.1f} s"
            state = "found" if cell.outcome == "found" else state
            line = visible(f"{cell.name}: {state}")
            self._bar.console.print(line, markup=False, highlight=False)
            self.beat()

    def ended(self, *, stopped: bool) -> None:
        if self._bar is not None:
            self._bar.stop()


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a run ended; the defaults are those of a run that an error ends."""

    exit_code: int = 2
    failed: int = 0  # cells, now or earlier
    written: tuple[str, ...] = ()  # files of the table


@contextmanager
def json_events(
    path: Path, selection: Mapping[str, Any], every: float = SECONDS
) -> Iterator[JsonEvents]:
    """An observer that adds a run's events to a file; the last of them is its `ending`."""
    with event_log(path) as log:
        observer = JsonEvents(log, selection, every)
        try:
            yield observer
        finally:
            observer.write_end()


class JsonEvents(Observer):
    """Writes what becomes of each cell.

    That a cell is taken is seen by its lease. A cell that is done between two looks is reported as
    started when it is reported as finished.
    """

    def __init__(self, log: EventLog, selection: Mapping[str, Any], every: float) -> None:
        self.ending = Ending()
        self._log, self._selection, self._every = log, selection, every
        self._pace: Pace | None = None  # since the run began
        self._lock = threading.Lock()

    def planned(self, *, cells: int, todo: int) -> None:
        self._pace = Pace(todo)
        counts = {"cells": cells, "found": cells - todo, "todo": todo}
        self._log.write(events.RunStarted(version=__version__, selection=self._selection, **counts))

    def started(self, progress: CellProgress) -> None:
        self._progress, self._last = progress, time.monotonic()
        self._waiting = set(progress.cells)

    def beat(self) -> None:
        """Report cells that have been taken since the last look; now and then how far all are."""
        for key in self._progress.running():
            self._cell_started(key)
        if time.monotonic() - self._last >= self._every:
            self._last = time.monotonic()
            self._report_progress()

    def finished(self, cell: Finished) -> None:
        """Report a cell's end, and how far the others are."""
        self._cell_started(cell.key)
        names = names_of(self._progress.cells[cell.key])
        facts: dict[str, Any] = {"key": cell.key, "cell": names, "seconds": cell.seconds}
        if cell.error is not None:
            self._log.write(events.CellFailed(**facts, error=cell.error))
        else:
            scores, elsewhere = self._scores(cell.key), cell.outcome == "found"
            self._log.write(
                events.CellFinished(**facts, edits=cell.edits, scores=scores, elsewhere=elsewhere)
            )
        self._report_progress()

    def ended(self, *, stopped: bool) -> None:
        if stopped:
            done, todo = self._progress.done, len(self._progress.cells)
            self._log.write(events.Stopped(done=done, todo=todo))

    def write_end(self) -> None:
        """The last line; nothing of a run that was refused."""
        if self._pace is not None:
            end = asdict(self.ending)
            self._log.write(events.RunFinished(seconds=self._pace.seconds, **end))

    def _cell_started(self, key: str) -> None:
        with self._lock:
            if key in self._waiting:
                self._waiting.remove(key)
                names = names_of(self._progress.cells[key])
                self._log.write(events.CellStarted(key=key, cell=names))

    def _report_progress(self) -> None:
        now = vars(self._progress.now())
        shared = {field.name: now[field.name] for field in fields(events.Progress)[1:]}
        self._log.write(events.Progress(what="cells", **shared))

    def _scores(self, key: str) -> Mapping[str, Any]:
        """The scores of the edited model in a record."""
        record = self._progress.store.read(key)
        summary: dict[str, Any] = {} if record is None else record["summary"]
        scores: dict[str, Any] = summary.get("scores", summary)
        after: dict[str, Any] = scores.get("after", scores)
        return after
