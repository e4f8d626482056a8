"""Which records have been written since a run began, told without reading them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.evaluation.jobs import Job

Stamps = Mapping[str, int]  # of files, by key; a key without a file has none


def stamps(directory: Path, jobs: Sequence[Job]) -> dict[str, int]:
    """Which records are there, and when each was written, by the file system's clock."""
    found = {}
    for job in jobs:
        key = job.cell.key()
        try:
            found[key] = (directory / f"{key}.json").stat().st_mtime_ns
        except FileNotFoundError:
            continue
    return found


def written_since(directory: Path, jobs: Sequence[Job], before: Stamps) -> list[Job]:
    """Jobs whose record is newer than `before`, failed ones too."""
    now = stamps(directory, jobs)
    return [job for job in jobs if now.get(job.cell.key()) != before.get(job.cell.key())]
