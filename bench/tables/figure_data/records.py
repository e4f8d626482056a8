"""Records to draw from: a directory of records as `run` leaves them, or of committed ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.core.cells import Cell
from bench.core.console import warn
from bench.datasets.plugins import remember
from bench.store.compact import compact
from bench.store.query import split_stale, stale_warning
from bench.store.results import Record, ResultStore, is_complete, parse


def read_records(directory: Path) -> list[Record]:
    """The complete editing records of a directory in compact form, each cell once, by their keys.

    Where the directory holds `*.jsonl` files, their lines are the records; else each `*.json` file
    is one. Records of other kinds are left out.

    Raises:
        OSError: no such directory, or a file that cannot be read.
        ValueError: a file or line that is no record, or no complete editing record at all.
    """
    if not directory.is_dir():
        raise FileNotFoundError(
            f"No records at {directory}; python -m bench run makes them, --from names their place."
        )
    found = {
        record["key"]: compact(record)
        for record in _all(directory)
        if _edits(record) and is_complete(record)
    }
    if not found:
        raise ValueError(f"No complete record of an editing run in {directory}.")
    remember(found.values())
    return [found[key] for key in sorted(found)]


def _all(directory: Path) -> Iterator[Record]:
    files = sorted(directory.glob("*.jsonl"))
    if not files:
        owned = (r for r in ResultStore(directory).records() if _edits(r) and is_complete(r))
        current, stale = split_stale(owned)
        if warning := stale_warning(stale):
            warn(warning)
        yield from current
    for path in files:
        lines = path.read_bytes().splitlines()  # of a text it would part at U+2028 too
        yield from (parse(line, f"{path}, line {i}") for i, line in enumerate(lines, 1))


def _edits(record: Record) -> bool:
    """Whether the record is one of edits that were scored, or failed."""
    return bool(record["cell"].get("kind") == Cell.kind)
