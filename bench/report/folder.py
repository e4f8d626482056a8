"""A folder that appears whole, in place of an earlier report or of nothing."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

MARK = "report.json"  # its presence says that a folder is a report, which a new one may replace


def write_folder(out: Path, contents: Mapping[str, bytes]) -> Path:
    """Write files by their relative names, all under another folder name first; returns `out`.

    Raises:
        ValueError: there is something else than a report at `out`.
        OSError: the place cannot be written; what was there before is there still.
    """
    place = out.resolve()
    check_place(out)
    place.parent.mkdir(parents=True, exist_ok=True)
    name = uuid.uuid4().hex
    partial = place.with_name(f".{place.name}.{name}.partial")
    earlier = place.with_name(f".{place.name}.{name}.earlier")
    try:
        for relative, content in contents.items():
            path = partial / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        _exchange(partial, place, earlier)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(earlier, ignore_errors=True)
    return out


def check_place(out: Path) -> None:
    """Refuse a place that holds something else than a report.

    Raises:
        ValueError: a file, or a folder that is neither empty nor a report.
    """
    if out.is_dir():
        if not (out / MARK).is_file() and any(out.iterdir()):
            raise ValueError(
                f"{out} is no report that could be replaced: it holds files, and no {MARK}; "
                "name an empty or a new folder with --out."
            )
    elif out.exists() or out.is_symlink():
        raise ValueError(f"{out} is a file; name a folder with --out.")


def _exchange(partial: Path, place: Path, earlier: Path) -> None:
    """Put the new folder in the place of the earlier one, which comes back if that fails."""
    there = place.exists()
    if there:
        place.rename(earlier)
    try:
        partial.rename(place)
    except OSError:
        if there:
            earlier.rename(place)
        raise
