"""Digests of files: what a record calls the things it was computed from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path


def digest_of_file(path: Path) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_files(paths: Sequence[Path]) -> str:
    """sha256 over the names (without directories) and digests of several files, in this order."""
    whole = hashlib.sha256()
    for path in paths:
        whole.update(f"{path.name}\0{digest_of_file(path)}\n".encode())
    return whole.hexdigest()
