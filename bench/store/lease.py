"""A claim that this process holds: created by one alone, kept fresh, removed at the end."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.evaluation.checkpointing import EditCount

# What file systems say that have no hard links.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class Claim:
    """A file that says who computes a cell; a thread renews it until the claim is released."""

    def __init__(self, path: Path, facts: Mapping[str, Any], every: float) -> None:
        """Create the file.

        Raises:
            FileExistsError: another one was quicker.
            FileNotFoundError: the folder is not there.
            OSError: it cannot be written.
        """
        self._path = path
        self._facts = dict(facts)
        self._beats = 0
        self._made: Callable[[], EditCount] = EditCount
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
            target=self._keep_fresh, args=(every,), name=f"claim {path.stem[:12]}", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.release()

    def tell(self, made: Callable[[], EditCount]) -> None:
        """Say from now on, with every sign of life, how many edits `made` counts."""
        self._made = made

    def is_lost(self) -> bool:
        """Whether another process has taken the cell over, because this one seemed dead."""
        try:
            return not self._is_own(self._path.read_bytes())
        except FileNotFoundError:
            return True
        except OSError:
            return False

    def release(self) -> None:
        """Remove the claim, if it still is this one, and the folder if it was the last."""
        self._ended.set()
        self._thread.join(timeout=5)
        if not self._thread.is_alive():  # else it may still write through this descriptor
            os.close(self._file)
        with contextlib.suppress(OSError):  # a claim that stays behind is stale soon
            remove_if(self._path, self._is_own)
            self._path.parent.rmdir()

    def _keep_fresh(self, every: float) -> None:
        while not self._ended.wait(every):
            self._beats += 1
            with contextlib.suppress(OSError):  # a full disk: the file's time may still move
                self._write()

    def _write(self) -> None:
        """Write through the descriptor, so that a claim of another under this name stays whole."""
        numbers = {"beat": self._beats, **self._made()._asdict()}
        padded = {name: f"{number:09}" for name, number in numbers.items()}
        text = json.dumps({**self._facts, **padded}, separators=(",", ":"))
        os.lseek(self._file, 0, os.SEEK_SET)
        os.write(self._file, text.encode())  # each time of the same length
        os.fsync(self._file)

    def _is_own(self, content: bytes) -> bool:
        return str(self._facts["token"]).encode() in content


def _put_in_place(partial: Path, path: Path) -> None:
    """Give a finished file its name, if that is nobody's: who is killed leaves no half claim.

    Raises:
        FileExistsError: it is somebody's.
        OSError: it cannot be written.
    """
    try:
        os.link(partial, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        partial.replace(path)


def remove_if(path: Path, wanted: Callable[[bytes], bool]) -> bool:
    """Remove a file of that content; whether it was one.

    It is renamed before it is judged, so that nobody can exchange it in between; another one is put
    back unless the name has been taken.

    Raises:
        OSError: the folder cannot be written.
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
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(aside)
    aside.unlink(missing_ok=True)
    return own
