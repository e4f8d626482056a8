"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def write_text(path: Path, text: str) -> Path:
    """Write a text in UTF-8, in the manner of `write_bytes`."""
    return write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> Path:
    """Write under another name, wait for the disk, rename; returns `path`.

    Raises:
        OSError: the place cannot be written; nothing partial is left there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return path


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
    finally:
        partial.unlink(missing_ok=True)
    return path
