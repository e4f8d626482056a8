"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
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
# Folders that cannot be synchronised, on file systems that need or offer nothing of the kind.
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF, errno.ENOSYS}


class UnwritableError(OSError):
    """A place that takes no file: full, read-only, or another's."""

    @classmethod
    def of(cls, path: Path, error: OSError) -> UnwritableError:
        """In one sentence, with what it means for a run."""
        reason = error.strerror or str(error)
        return cls(f"{reason}: {path}; what is finished is kept, and the same command continues.")


def write_text(path: Path, text: str) -> Path:
    """Write a text in UTF-8, in the manner of `write_bytes`."""
    return write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> Path:
    """Write under another name, wait for the disk, rename; returns `path`.

    Raises:
        OSError: the place cannot be written; nothing partial is left there.
    """
    with replacing(path) as file:
        file.write(content)
    return path


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file under another name that becomes `path` when the block ends well, and is on the disk.

    Raises:
        OSError: the place cannot be written; nothing partial is left there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the file system can say so.

    Raises:
        OSError: the disk has failed.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    facts: Mapping[str, str],
    *,
    durable: bool = False,
) -> Path:
    """Write a safetensors file with `facts` in its header, in the manner of `write_text`.

    Only a `durable` one waits for the disk.

    Raises:
        OSError: the place cannot be written; nothing partial is left there.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        plain = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        save_file(plain, partial, dict(facts))
        if durable:
            with partial.open("rb") as file:
                os.fsync(file.fileno())
        partial.replace(path)
    except SafetensorError as error:
        raise _as_os_error(path, error) from error
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)
    return path


def _as_os_error(path: Path, error: Exception) -> OSError:
    """What safetensors says of a disk, as the error that everything else raises there."""
    number = re.search(r"os error (\d+)", str(error))
    if number is None:
        return OSError(f"{path} cannot be written: {error}")
    return OSError(int(number[1]), os.strerror(int(number[1])), str(path))
