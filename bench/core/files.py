"""Files that appear whole or not at all, and damaged ones that are set aside.

What writes raises an OSError where it cannot; nothing partial is left then.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from torch import Tensor

PARTIAL = ".*.partial"  # names of files that are being written, or whose writer was killed
SET_ASIDE = "*.corrupt*"  # names of damaged files that were set aside
# Folders that cannot be synchronised, on file systems that need or offer nothing of the kind.
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF, errno.ENOSYS}


class UnwritableError(OSError):
    """A place that takes no file: full, read-only, or another's."""

    @classmethod
    def of(cls, path: Path, error: OSError) -> UnwritableError:
        """In one sentence, with what it means for a run."""
        reason = error.strerror or str(error)
        return cls(f"{reason}: {path}; finished cells are stored, and the same command continues.")


def write_text(path: Path, text: str) -> Path:
    """Write a text in UTF-8, in the manner of `write_bytes`."""
    return write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> Path:
    """Write under another name, wait for the disk, rename; returns `path`."""
    with replacing(path) as file:
        file.write(content)
    return path


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file under another name that, once it is on the disk, becomes `path` as the block ends."""
    with _partial(path) as partial, partial.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    facts: Mapping[str, str],
    *,
    durable: bool = False,
) -> Path:
    """Write a safetensors file with `facts` in its header; only if `durable`, wait for the disk."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        with _partial(path) as partial:
            plain = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
            save_file(plain, partial, dict(facts))
            if durable:
                with partial.open("rb") as file:
                    os.fsync(file.fileno())
    except SafetensorError as error:
        raise _as_os_error(path, error) from error
    return path


@contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """A free name in the folder of `path`; its file becomes `path` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the file system can report it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def _as_os_error(path: Path, error: Exception) -> OSError:
    """What safetensors reports of a disk, as the error that everything else raises there."""
    number = re.search(r"os error (\d+)", str(error))
    if number is None:
        return OSError(f"{path} cannot be written: {error}")
    return OSError(int(number[1]), os.strerror(int(number[1])), str(path))


def set_aside(path: Path, seen: os.stat_result) -> Path | None:
    """Rename a damaged file to `<name>.corrupt`, `.corrupt.1` and so on; returns its new path.

    It is neither read nor lost then, and nothing is ever overwritten. `seen` is what the file was
    when it was read: where another process has put a sound file there since, that file stays, and
    None is returned.
    """
    new = _reserved(path)
    try:
        path.rename(new)
    except FileNotFoundError:
        new.unlink()
        return None
    except OSError:
        new.unlink(missing_ok=True)
        raise
    now = new.stat()
    if (now.st_ino, now.st_size, now.st_mtime_ns) == (seen.st_ino, seen.st_size, seen.st_mtime_ns):
        return new
    new.rename(path)
    return None


def _reserved(path: Path) -> Path:
    """A new empty file, whose name the damaged one takes."""
    for number in itertools.count():
        new = path.with_name(f"{path.name}.corrupt" + (f".{number}" if number else ""))
        try:
            new.touch(exist_ok=False)
        except FileExistsError:
            continue
        return new
    raise AssertionError("unreachable")
