"""A damaged file out of the way under another name, so that it is neither read nor lost."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

SET_ASIDE = "*.corrupt*"  # names of what was set aside


def set_aside(path: Path, seen: os.stat_result) -> Path | None:
    """Rename `path` to `<name>.corrupt`, `.corrupt.1` and so on; returns its new place.

    Args:
        path: the damaged file.
        seen: what it was when it was read. Where another process has put a sound file there since,
            that one stays, and None is returned.

    Raises:
        OSError: it cannot be renamed.
    """
    place = _reserved(path)
    try:
        path.rename(place)
    except FileNotFoundError:
        place.unlink()
        return None
    except OSError:
        place.unlink(missing_ok=True)
        raise
    now = place.stat()
    if (now.st_ino, now.st_size, now.st_mtime_ns) == (seen.st_ino, seen.st_size, seen.st_mtime_ns):
        return place
    place.rename(path)
    return None


def _reserved(path: Path) -> Path:
    """A new empty file, for the damaged one to take its place: nothing is ever overwritten."""
    for number in itertools.count():
        place = path.with_name(f"{path.name}.corrupt" + (f".{number}" if number else ""))
        try:
            place.touch(exist_ok=False)
        except FileExistsError:
            continue
        return place
    raise AssertionError("unreachable")
