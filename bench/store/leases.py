"""Claims: which process is computing a cell, in a folder that processes and machines share.

A claim is a file that only one can create. Its holder keeps changing it; whoever else wants the
cell watches, by a clock of its own, how long it stays the same. Files are created, renamed, read
and removed, and never locked, so that a network file system serves.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.core.files import UnwritableError
from bench.core.processes import Process, is_gone, is_here, this_process
from bench.evaluation.checkpointing import EditCount
from bench.store.lease import Claim, remove_if

EVERY = 10.0  # seconds between two signs of life (ours)
PATIENCE = 60.0  # seconds without one after which a claim is stale (ours: six are missed)
_ATTEMPTS = 10


class CellClaims:
    """The claims of one folder, as this process sees them."""

    def __init__(
        self,
        folder: Path,
        *,
        patience: float = PATIENCE,
        every: float = EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._patience = patience
        self._every = every
        self._clock = clock
        self._watched: dict[str, tuple[bytes, int, float]] = {}  # content, mtime, since when

    def claim(self, key: str) -> Claim | None:
        """The cell for this process, None where another one holds it and may be alive.

        Raises:
            OSError: the folder cannot be written.
        """
        path = self._path(key)
        for _ in range(_ATTEMPTS):
            try:
                return self._create(path)
            except FileNotFoundError:  # the last one to go has just removed the folder
                continue
            except FileExistsError:
                stale = self._stale(path)
            if stale is not None and not self._take_away(path, stale):
                return None
            if stale is None and path.exists():
                return None
        return None

    def is_stale(self, key: str) -> bool:
        """Whether a claim's holder is gone, as far as this process has seen."""
        return self._stale(self._path(key)) is not None

    def is_here(self, key: str) -> bool:
        """Whether a claim is of a living process of this machine."""
        holder = _process(_content(self._path(key)))
        return holder is not None and is_here(holder)

    def claimed(self) -> list[str]:
        """All cells that are claimed."""
        try:
            return sorted(path.stem for path in self._folder.glob("*.json"))
        except OSError:  # the last one to go has just removed the folder
            return []

    def holder(self, key: str) -> str:
        """Who holds a cell, in words."""
        facts = _facts(_content(self._path(key)))
        return f"process {facts.get('pid', '?')} on {facts.get('host', 'an unknown host')}"

    def made(self, key: str) -> EditCount:
        """How many edits of a cell its holder has told of, at the last sign of life."""
        facts = _facts(_content(self._path(key)))
        try:
            return EditCount(*(int(facts[name]) for name in EditCount._fields))
        except (KeyError, TypeError, ValueError):
            return EditCount()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"

    def _create(self, path: Path) -> Claim:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            claim = Claim(path, _facts_of_this(), self._every)
        except (FileNotFoundError, FileExistsError):
            raise
        except OSError as error:
            with contextlib.suppress(OSError):
                path.parent.rmdir()
            raise UnwritableError.of(path, error) from error
        self._watched.pop(path.name, None)
        return claim

    def _stale(self, path: Path) -> bytes | None:
        """The content of a claim whose holder is gone; None of any other, or of none."""
        try:
            content, modified = path.read_bytes(), path.stat().st_mtime_ns
        except FileNotFoundError:
            self._watched.pop(path.name, None)
            return None
        holder = _process(content)
        gone = holder is not None and is_gone(holder)
        return content if gone or self._unchanged(path.name, content, modified) else None

    def _unchanged(self, name: str, content: bytes, modified: int) -> bool:
        """Whether a file has stayed the same for as long as anybody waits."""
        now = self._clock()
        before = self._watched.get(name)
        if before is None or before[:2] != (content, modified):
            self._watched[name] = (content, modified, now)
            return False
        return now - before[2] >= self._patience

    def _take_away(self, path: Path, stale: bytes) -> bool:
        """Remove a stale claim; of several who try, one does.

        Who does it marks it first, under a name that the stale content gives: while the mark is
        there no other process removes that claim, and who comes later finds another content.
        """
        mark = path.with_suffix(f".{hashlib.sha256(stale).hexdigest()[:16]}.taken")
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            if self._unchanged(mark.name, b"", 0):  # who made it was killed at that instant
                mark.unlink(missing_ok=True)
            return False
        except OSError as error:
            raise UnwritableError.of(mark, error) from error
        try:
            return remove_if(path, lambda content: content == stale)
        finally:
            mark.unlink(missing_ok=True)


def _facts_of_this() -> dict[str, Any]:
    this = this_process()
    return {
        "host": socket.gethostname(),
        "machine": this.machine,
        "pid": this.pid,
        "process_started": this.started,
        "token": uuid.uuid4().hex,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _process(content: bytes) -> Process | None:
    """Whose a claim is, None where it does not say."""
    facts = _facts(content)
    machine, pid, started = (facts.get(name) for name in ("machine", "pid", "process_started"))
    if not isinstance(machine, str) or type(pid) is not int or type(started) is not int:
        return None
    return Process(machine=machine, pid=pid, started=started)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _facts(content: bytes) -> dict[str, Any]:
    """What a claim says; nothing where it is being written, or is none."""
    try:
        return dict(json.loads(content))
    except (ValueError, TypeError):
        return {}
