"""Records out of a store and into one, as JSON lines.

What comes in is trusted in nothing: see `bench.store.verification`.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from bench.core.files import replacing
from bench.store.inventory import Wanted, entries
from bench.store.results import (
    MAX_BYTES,
    Record,
    ResultStore,
    encoded,
    is_complete,
    mark_of,
    parse,
)
from bench.store.verification import problems

MAX_FILE = 2**36  # bytes of one file when unpacked (ours), so that a small one cannot fill a disk


@dataclass(frozen=True, kw_only=True)
class Read:
    """What a first pass over some files gave; places are `FILE, line N`."""

    new: dict[str, str] = field(default_factory=dict)  # place -> mark, of what is to be written
    known: list[str] = field(default_factory=list)  # places of what the store has already
    refused: dict[str, str] = field(default_factory=dict)  # place -> reason


Report = Callable[[int], None]  # is called with how many more records are done


def export(store: ResultStore, path: Path, wanted: Wanted, report: Report) -> int:
    """Write full records as JSON lines, packed where the name ends in .gz; returns their number."""
    count = 0
    with replacing(path) as file:
        packed = gzip.GzipFile("", "wb", fileobj=file, mtime=0) if _is_packed(path) else None
        for _, record in entries(store, wanted):
            if record is not None:
                (packed or file).write(encoded(record) + b"\n")
                count += 1
                report(1)
        if packed is not None:
            packed.close()
    return count


def read_files(
    store: ResultStore, files: Sequence[Path], *, overwrite: bool, report: Report
) -> Read:
    """Judge every line of some files and write nothing; a ValueError where one has no lines."""
    read, marks = Read(), dict[str, str]()
    for path in files:
        for place, line in _lines(path):
            report(1)
            try:
                record = parse(line, place)
                if wrong := problems(record):
                    raise ValueError(f"{place}: {wrong[0]}")
                known = _known(store, record, overwrite=overwrite)
            except ValueError as error:
                read.refused[place] = str(error)
                continue
            mark, before = mark_of(record), marks.get(record["key"])
            marks.setdefault(record["key"], mark)
            if before not in (None, mark):
                read.refused[place] = f"{place} has another record of a cell that was read before."
            elif known or before is not None:
                read.known.append(place)
            else:
                read.new[place] = mark
    return read


def write_records(store: ResultStore, files: Sequence[Path], read: Read, report: Report) -> int:
    """Write what `read_files` accepted, unless a file has changed since; returns the number."""
    count = 0
    for path in files:
        for place, line in _lines(path):
            if place not in read.new:
                continue
            record = parse(line, place)
            if mark_of(record) != read.new[place]:
                raise ValueError(f"{place} has changed while it was imported.")
            store.write(record)
            count += 1
            report(1)
    return count


def _known(store: ResultStore, record: Record, *, overwrite: bool) -> bool:
    """Whether the store has a record already; a ValueError where it has another complete one."""
    there = store.read(record["key"])
    if there is None:
        return False
    if mark_of(there) == mark_of(record):
        return True
    if is_complete(there) and not overwrite:
        raise ValueError(
            f"The store has another complete record of cell {record['key'][:12]}; "
            "--overwrite replaces it."
        )
    return False


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """(place, line) of all lines that are not empty."""
    total = 0
    try:
        with cast("IO[bytes]", gzip.open(path) if _is_packed(path) else path.open("rb")) as file:
            number = 0
            while line := file.readline(MAX_BYTES + 1):
                number, total = number + 1, total + len(line)
                if len(line) > MAX_BYTES or total > MAX_FILE:
                    raise ValueError(f"{path}, line {number} is larger than records are.")
                if line.strip():
                    yield f"{path}, line {number}", line
        if not total:
            raise ValueError(f"{path} is empty.")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} cannot be unpacked: {error}.") from error


def _is_packed(path: Path) -> bool:
    return path.suffix == ".gz"
