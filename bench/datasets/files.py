"""Finding a data set's file under a directory, and naming its content."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

# Sub-folders searched below the given directory: enough for a checkout of the RECIPE repository
# (data/evaluation/ripple_effect/ripe_test.json) inside one more folder.
SEARCH_DEPTH = 4


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """One split as its authors published it."""

    path: str  # inside the source repository; its last part is the name searched for
    # Patterns of other names accepted: parts and conversions of the set.
    variants: tuple[str, ...] = ()
    rows: int = 0  # 0: not stated
    git_blob: str = ""  # what `git hash-object FILE` prints; empty: not stated

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def git_blob_id(content: bytes) -> str:
    """The id that git gives a file with this content (what `git hash-object` prints)."""
    header = b"blob %d\0" % len(content)
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


def git_blob_id_of(path: Path) -> str:
    """As `git_blob_id`, of a file that is read piece by piece."""
    whole = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            whole.update(piece)
    return whole.hexdigest()


def locate(file: PublishedFile, directory: Path) -> Path:
    """The file under `directory`: by its published name, else by a pattern of its variants.

    Sub-folders are searched `SEARCH_DEPTH` deep, hidden ones are not.

    Raises:
        OSError: the directory or the file is missing, or a folder cannot be read.
        ValueError: several files fit.
    """
    if not directory.is_dir():
        raise NotADirectoryError(
            f"{directory} is not a directory: wanted the one with {file.name}."
        )
    present = _files_below(directory)
    for patterns in ((file.name,), file.variants):
        found = [p for p in present if any(fnmatch(p.name, pattern) for pattern in patterns)]
        if len(found) > 1:
            raise ValueError(
                f"Several files under {directory} could be {file.name}: "
                f"{', '.join(str(p.relative_to(directory)) for p in found)}. Wanted one."
            )
        if found:
            return found[0]
    others = f" (nor {' or '.join(file.variants)})" if file.variants else ""
    raise FileNotFoundError(
        f"No {file.name}{others} in {directory} or up to {SEARCH_DEPTH} folders below it."
    )


def _files_below(directory: Path) -> list[Path]:
    found: dict[Path, Path] = {}  # by real path, so that links do not make a file ambiguous
    for folder, folders, names in os.walk(directory, onerror=_raise, followlinks=True):
        here = Path(folder)
        deep = len(here.relative_to(directory).parts) >= SEARCH_DEPTH
        folders[:] = [] if deep else sorted(f for f in folders if not f.startswith("."))
        for name in sorted(n for n in names if n.endswith(".json")):
            found.setdefault((here / name).resolve(), here / name)
    return list(found.values())


def _raise(error: OSError) -> None:
    raise error
