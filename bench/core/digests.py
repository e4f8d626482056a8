"""Digests of files: what a record calls the things it was computed from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path


def digest_of_file(path: Path) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached_digest(path: Path) -> str:
    """sha256 of a file, which is read once in a process as long as it does not change."""
    status = path.stat()
    return _digest_at(path, status.st_mtime_ns, status.st_size)


def combined_digest(paths: Sequence[Path]) -> str:
    """As `digest_of_files`, each file read once in a process as long as it does not change."""
    lines = (f"{path.name}\0{cached_digest(path)}\n" for path in paths)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@cache
def _digest_at(path: Path, modified: int, size: int) -> str:  # noqa: ARG001 - they are the key
    return digest_of_file(path)


def digest_of_files(paths: Sequence[Path]) -> str:
    """sha256 over the names (without directories) and digests of several files, in this order."""
    whole = hashlib.sha256()
    for path in paths:
        whole.update(f"{path.name}\0{digest_of_file(path)}\n".encode())
    return whole.hexdigest()
