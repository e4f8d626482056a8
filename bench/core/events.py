"""Events of a long command, for other programs: one JSON object a line, of a few kinds.

A line is whole and valid whatever is written beside it: events go to a file of their own, and the
texts for people stay on standard error.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

Facts = Mapping[str, Any]  # plain JSON values


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of the kinds; the fields of a subclass are those of its line."""


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """A run begins; what follows is about the cells that have no record yet."""

    version: str
    selection: Facts  # as on the command line
    cells: int  # of the table
    found: int  # of them have a record
    todo: int  # of them are computed, here or by others


@dataclass(frozen=True, kw_only=True)
class CellStarted(Event):
    """A process has taken a cell."""

    key: str
    cell: Facts  # the names in its identity


@dataclass(frozen=True, kw_only=True)
class CellFinished(Event):
    """A cell has a record."""

    key: str
    cell: Facts
    seconds: float  # 0 where another run computed it
    edits: int
    scores: Facts  # in [0, 1], as in its record
    elsewhere: bool  # whether another run computed it


@dataclass(frozen=True, kw_only=True)
class CellFailed(Event):
    """A cell has a record of its failure."""

    key: str
    cell: Facts
    seconds: float
    error: str


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """How far the work is; after every cell, and every half minute."""

    what: str  # is counted: `cells`, `iterations`, `documents`
    done: int
    total: int | None
    edits: int | None = None  # so far, in cells that are being computed too
    edits_total: int | None = None  # None where it is not known
    rate: float | None  # of what is counted, a second
    seconds_left: float | None


@dataclass(frozen=True, kw_only=True)
class Stopped(Event):
    """A signal has stopped the run; the same command continues."""

    done: int
    todo: int


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """The last line of a run that was not killed."""

    exit_code: int
    seconds: float
    failed: int  # cells, now or earlier
    written: tuple[str, ...]  # files of the table


KINDS: dict[str, type[Event]] = {
    "run_started": RunStarted,
    "cell_started": CellStarted,
    "cell_finished": CellFinished,
    "cell_failed": CellFailed,
    "progress": Progress,
    "stopped": Stopped,
    "run_finished": RunFinished,
}
_NAMES = {kind: name for name, kind in KINDS.items()}


@dataclass(frozen=True)
class EventLog:
    """Writes events, from any thread; without a file it writes nothing."""

    file: IO[str] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def is_on(self) -> bool:
        return self.file is not None

    def write(self, event: Event) -> None:
        """Write one line, at once."""
        if self.file is None:
            return
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        facts = _plain(vars(event))
        text = json.dumps({"event": _NAMES[type(event)], "time": time} | facts, allow_nan=False)
        with self.lock:
            self.file.write(f"{text}\n")
            self.file.flush()


SILENT = EventLog()


@contextmanager
def event_log(path: Path | None) -> Iterator[EventLog]:
    """A log that appends to a file, created where there is none; an OSError if it cannot be."""
    if path is None:
        yield EventLog()
        return
    with path.open("a", encoding="ascii") as file:
        yield EventLog(file)


def _plain(value: Any) -> Any:
    """JSON knows no infinity and no NaN."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
