"""What a run tells of its cells, whichever processes compute them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.core.events import (
    CellFailed,
    CellFinished,
    CellStarted,
    EventLog,
    Progress,
    RunFinished,
    RunStarted,
)
from bench.core.heartbeat import SECONDS, heartbeat
from bench.core.pace import Pace
from bench.evaluation.jobs import Job
from bench.evaluation.record_kinds import names_of
from bench.runner.cell_progress import CellProgress
from bench.runner.worker import Finished
from bench.store.leases import Leases
from bench.store.results import ResultStore

LOOK = 1.0  # seconds between two looks at who has taken which cell; ours


@dataclass(kw_only=True)
class Ending:
    """How a run ended; as it is here where an error ends it."""

    exit_code: int = 2
    failed: int = 0
    written: tuple[str, ...] = ()


@contextmanager
def told_run(log: EventLog, started: RunStarted) -> Iterator[Ending]:
    """Tell of a run's beginning, and of its end with what was noted of it."""
    pace, ending = Pace(started.todo), Ending()
    log.tell(started)
    try:
        yield ending
    finally:
        log.tell(
            RunFinished(
                exit_code=ending.exit_code,
                seconds=pace.seconds,
                failed=ending.failed,
                written=ending.written,
            )
        )


def told(
    finished: Iterable[Finished],
    log: EventLog,
    jobs: Sequence[Job],
    store: ResultStore,
    progress: CellProgress,
) -> Iterator[Finished]:
    """Pass finished cells on, which `progress` counts, and tell of them.

    That a cell is taken is seen by its lease. A cell that is done between two looks is told as
    started when it is told as finished.
    """
    if not log.is_on:
        yield from finished
        return
    teller = _Teller(log, jobs, store, progress)
    with heartbeat(teller.look, LOOK), heartbeat(teller.progress, SECONDS):
        for one in finished:
            teller.finished(one)
            yield one


class _Teller:
    """Tells each cell's start once, and before its end."""

    def __init__(
        self, log: EventLog, jobs: Sequence[Job], store: ResultStore, progress: CellProgress
    ) -> None:
        self._log, self._store = log, store
        self._leases = Leases(store.leases)
        self._cells = {job.cell.key(): job.cell for job in jobs}
        self._waiting = set(self._cells)
        self._lock = threading.Lock()
        self._progress = progress

    def look(self) -> None:
        """Tell of cells that have been taken since the last look."""
        for key in self._leases.held():
            self._started(key)

    def progress(self) -> None:
        """Tell how far the cells are."""
        now = self._progress.now()
        event = Progress(
            what="cells",
            done=now.done,
            total=now.total,
            edits=now.edits,
            edits_total=now.edits_total,
            rate=now.rate,
            seconds_left=now.seconds_left,
        )
        self._log.tell(event)

    def finished(self, one: Finished) -> None:
        """Tell of a cell's end, and how far the others are."""
        self._started(one.key)
        cell = names_of(self._cells[one.key])
        if one.error is not None:
            self._log.tell(CellFailed(key=one.key, cell=cell, seconds=one.seconds, error=one.error))
        else:
            self._log.tell(
                CellFinished(
                    key=one.key,
                    cell=cell,
                    seconds=one.seconds,
                    edits=one.edits,
                    scores=self._scores(one.key),
                    elsewhere=one.outcome == "found",
                )
            )
        self.progress()

    def _started(self, key: str) -> None:
        with self._lock:
            if key in self._waiting:
                self._waiting.remove(key)
                self._log.tell(CellStarted(key=key, cell=names_of(self._cells[key])))

    def _scores(self, key: str) -> Mapping[str, Any]:
        """What a record's summary says of the edited model."""
        record = self._store.read(key)
        if record is None:
            return {}
        summary: dict[str, Any] = record["summary"]
        scores: dict[str, Any] = summary.get("scores", summary)
        after: dict[str, Any] = scores.get("after", scores)
        return after
