"""Cells that are being computed: which process has each of them, and how far it has come.

Leases and checkpoints are in folders that processes and machines share. A lease is a file that only
one process can create, and that its holder renews. Whoever else wants the cell watches, by a clock
of its own, how long the file stays the same. Files are created, renamed, read and removed, and
never locked, so that a network file system serves. `filelock.SoftFileLease` does not serve: a
process killed between creating its file and writing to it blocks the cell for ever, two containers
of one host name count as one machine, and it carries no progress.

A checkpoint is a safetensors file that is whole or not read at all: the editor's state by name, the
progress as the bytes of a JSON text, and in the header what it is of and a digest of everything.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from torch import Tensor

from bench.core.cells import canonical
from bench.core.console import warn
from bench.core.files import (
    UnwritableError,
    digest_of_tensors,
    read_tensors,
    set_aside,
    write_tensors,
)
from bench.evaluation.caches import difference
from bench.evaluation.checkpointing import Checkpoint, EditCount

EVERY = 10.0  # seconds between two renewals (ours)
PATIENCE = 60.0  # seconds without a renewal after which a lease is stale (ours: six are missed)
_ATTEMPTS = 10
_FORMAT = "1"
_PROGRESS, _STATE = "progress", "state."  # names of tensors in the file
_PROC = Path("/proc")
# What file systems answer that have no hard links.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class Leases:
    """The leases of one folder, as this process sees them."""

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

    def acquire(self, key: str) -> Lease | None:
        """The cell for this process, None where another process holds it and may be alive."""
        path = self._path(key)
        for _ in range(_ATTEMPTS):
            try:
                return self._create(path)
            except FileNotFoundError:  # the last holder to leave has just removed the folder
                continue
            except FileExistsError:
                stale = self._stale(path)
            if stale is not None and not self._take_away(path, stale):
                return None
            if stale is None and path.exists():
                return None
        return None

    def is_stale(self, key: str) -> bool:
        """Whether a lease's holder is gone, as far as this process has seen."""
        return self._stale(self._path(key)) is not None

    def is_here(self, key: str) -> bool:
        """Whether a lease is of a living process of this machine."""
        return _has_ended(_facts(self._path(key))) is False

    def held(self) -> list[str]:
        """The keys of all cells with a lease."""
        try:
            return sorted(path.stem for path in self._folder.glob("*.json"))
        except OSError:  # the last holder to leave has just removed the folder
            return []

    def holder(self, key: str) -> str:
        """Who holds a cell, in words."""
        facts = _facts(self._path(key))
        return f"process {facts.get('pid', '?')} on {facts.get('host', 'an unknown host')}"

    def progress(self, key: str) -> EditCount:
        """How many edits of a cell its holder has reported, at the last renewal."""
        facts = _facts(self._path(key))
        with suppress(KeyError, TypeError, ValueError):
            return EditCount(*(int(facts[name]) for name in EditCount._fields))
        return EditCount()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"

    def _create(self, path: Path) -> Lease:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lease = Lease(path, self._every)
        except (FileNotFoundError, FileExistsError):
            raise
        except OSError as error:
            with suppress(OSError):
                path.parent.rmdir()
            raise UnwritableError.of(path, error) from error
        self._watched.pop(path.name, None)
        return lease

    def _stale(self, path: Path) -> bytes | None:
        """The content of a lease whose holder is gone; None of any other, or of none."""
        try:
            content, modified = path.read_bytes(), path.stat().st_mtime_ns
        except FileNotFoundError:
            self._watched.pop(path.name, None)
            return None
        gone = _has_ended(_parsed(content)) or self._unchanged(path.name, content, modified)
        return content if gone else None

    def _unchanged(self, name: str, content: bytes, modified: int) -> bool:
        """Whether a file has stayed the same for as long as anybody waits."""
        now = self._clock()
        before = self._watched.get(name)
        if before is None or before[:2] != (content, modified):
            self._watched[name] = (content, modified, now)
            return False
        return now - before[2] >= self._patience

    def _take_away(self, path: Path, stale: bytes) -> bool:
        """Remove a stale lease; of several who try, one succeeds.

        A taker marks it first, under a name that the stale content gives: while the mark is there
        no other process removes that lease, and who comes later sees another content.
        """
        mark = path.with_suffix(f".{hashlib.sha256(stale).hexdigest()[:16]}.taken")
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            if self._unchanged(mark.name, b"", 0):  # its writer was killed at that instant
                mark.unlink(missing_ok=True)
            return False
        except OSError as error:
            raise UnwritableError.of(mark, error) from error
        try:
            return _remove_if(path, lambda content: content == stale)
        finally:
            mark.unlink(missing_ok=True)


class Lease:
    """A cell that this process holds: a thread renews the file until it is released."""

    def __init__(self, path: Path, every: float) -> None:
        """Create the file; a FileExistsError where another process was quicker."""
        self._path = path
        self._token = uuid.uuid4().hex
        self._facts = {
            "host": socket.gethostname(),
            "machine": _machine(),
            "pid": os.getpid(),
            "process_started": _status(os.getpid())[1],
            "token": self._token,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self._beats = 0
        self._count: Callable[[], EditCount] = EditCount
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
        self._file = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
        try:
            self._write()
            _put_in_place(partial, path)
        except OSError:
            os.close(self._file)
            raise
        finally:
            partial.unlink(missing_ok=True)
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._renew, args=(every,), name=f"lease {path.stem[:12]}", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def report(self, count: Callable[[], EditCount]) -> None:
        """Write the edits so far, as `count` gives them, with every renewal from now on."""
        self._count = count

    def is_lost(self) -> bool:
        """Whether another process has taken the cell over, because this one seemed dead."""
        try:
            return not self._is_own(self._path.read_bytes())
        except FileNotFoundError:
            return True
        except OSError:
            return False

    def release(self) -> None:
        """Remove the lease, if it still is this one, and the folder if it was the last."""
        self._ended.set()
        self._thread.join(timeout=5)
        if not self._thread.is_alive():  # else it may still write through this descriptor
            os.close(self._file)
        with suppress(OSError):  # a lease that remains is stale soon
            _remove_if(self._path, self._is_own)
            self._path.parent.rmdir()

    def _renew(self, every: float) -> None:
        while not self._ended.wait(every):
            self._beats += 1
            with suppress(OSError):  # a full disk: the file's time may still move
                self._write()

    def _write(self) -> None:
        """Write through the descriptor, so that a lease of another under this name stays whole."""
        numbers = {"beat": self._beats, **self._count()._asdict()}
        padded = {name: f"{number:09}" for name, number in numbers.items()}
        text = json.dumps({**self._facts, **padded}, separators=(",", ":"))
        os.lseek(self._file, 0, os.SEEK_SET)
        os.write(self._file, text.encode())  # each time of the same length
        os.fsync(self._file)

    def _is_own(self, content: bytes) -> bool:
        return self._token.encode() in content


def _has_ended(facts: Mapping[str, Any]) -> bool | None:
    """Whether the process that holds a lease has certainly ended; None of one elsewhere.

    Its number may be in use again.
    """
    machine, pid, started = (facts.get(name) for name in ("machine", "pid", "process_started"))
    if not machine or machine != _machine() or type(pid) is not int or type(started) is not int:
        return None
    if not 0 < pid < 2**31:
        return False
    try:
        os.kill(pid, 0)  # asks, and sends nothing
    except ProcessLookupError:
        return True
    except OSError:
        pass  # another user's
    state, now = _status(pid)
    return state in "ZX" or now not in {0, started}  # zombies have ended


def _machine() -> str:
    """One boot of one machine, and one space of process numbers on it; empty: not known."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _status(pid: int) -> tuple[str, int]:
    """(state, start in ticks of the boot) of a process; (`?`, 0) where it cannot be read."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "?", 0
    fields = text.rpartition(")")[2].split()  # the name in parentheses may hold anything
    return fields[0], int(fields[19])


def _put_in_place(partial: Path, path: Path) -> None:
    """Give a finished file its name, if that is free: a kill leaves no half lease."""
    try:
        os.link(partial, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        partial.replace(path)


def _remove_if(path: Path, wanted: Callable[[bytes], bool]) -> bool:
    """Remove a file of that content; whether there was one.

    It is renamed before it is judged, so that nobody can exchange it in between; another file is
    put back unless the name has been taken.
    """
    try:
        if not wanted(path.read_bytes()):
            return False
        aside = path.with_suffix(f".{uuid.uuid4().hex}.removed")
        path.rename(aside)
    except FileNotFoundError:
        return False
    own = wanted(aside.read_bytes())
    if not own:
        with suppress(FileExistsError):
            path.hardlink_to(aside)
    aside.unlink(missing_ok=True)
    return own


def _facts(path: Path) -> dict[str, Any]:
    with suppress(OSError):
        return _parsed(path.read_bytes())
    return {}


def _parsed(content: bytes) -> dict[str, Any]:
    """What a lease says; nothing where it is being written, or is none."""
    with suppress(ValueError, TypeError):
        return dict(json.loads(content))
    return {}


# ---- checkpoints -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class CheckpointFile:
    """Where the one checkpoint of a cell is, or would be."""

    directory: Path
    key: str  # of the cell
    numerics: Mapping[str, Any]  # see `bench.evaluation.caches`

    @property
    def path(self) -> Path:
        return self.directory / f"{self.key}.safetensors"

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint; where that fails with an OSError, the last one is still there."""
        text = json.dumps(checkpoint.progress, ensure_ascii=False).encode()
        tensors = {_PROGRESS: torch.frombuffer(bytearray(text), dtype=torch.uint8)}
        tensors |= {f"{_STATE}{name}": value.cpu() for name, value in checkpoint.state.items()}
        facts = self._facts()
        facts |= {"digest": digest_of_tensors(tensors, facts)}
        write_tensors(self.path, tensors, facts, durable=True)

    def read(self) -> Checkpoint | None:
        """The checkpoint, None where none can be continued here: such a file is set aside."""
        try:
            tensors, facts = read_tensors(self.path)
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, ValueError, KeyError):
            self.set_aside("is damaged")
            return None
        if reason := self._refusal(facts, tensors):
            self.set_aside(reason)
            return None
        return Checkpoint(
            progress=json.loads(bytes(tensors.pop(_PROGRESS).numpy())),
            state={name.removeprefix(_STATE): tensor for name, tensor in tensors.items()},
        )

    def set_aside(self, reason: str) -> None:
        """Rename the file, so that nobody reads it as a checkpoint, with a warning."""
        new = set_aside(self.path, self.path.stat()) or self.path
        warn(
            f"The checkpoint {self.path} {reason}; it is set aside as {new.name}, and its cell "
            "starts from the beginning."
        )

    def discard(self) -> None:
        """Remove the checkpoint and what killed writers left of others; the cell has a record."""
        self.path.unlink(missing_ok=True)
        for partial in self.directory.glob(f".{self.path.name}.*.partial"):
            partial.unlink(missing_ok=True)

    def _facts(self) -> dict[str, str]:
        numerics = canonical(dict(self.numerics))
        return {"format": _FORMAT, "key": self.key, "circumstances": numerics}

    def _refusal(self, facts: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str | None:
        """Why a file that can be read is not continued; None where it is."""
        named = {name: facts.get(name, "") for name in self._facts()}
        if facts.get("digest") != digest_of_tensors(tensors, named) or _PROGRESS not in tensors:
            return "is damaged: its digest is not that of its content"
        if named["format"] != _FORMAT:
            return f"has format {named['format']!r}, expected {_FORMAT!r}"
        if named["key"] != self.key:
            return "is one of another cell"
        other = difference(json.loads(named["circumstances"]), self.numerics)
        return None if other is None else f"was computed {other}"
