"""All that a full record must hold, said in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from bench.store.maintenance.following import contradiction
from bench.store.maintenance.schema import violations
from bench.store.results import Record, ResultStore, is_complete, read_file


def problems(record: Record) -> list[str]:
    """What is wrong with a record that is sealed well: its schema first, then its numbers."""
    broken = violations(record)
    if broken or not is_complete(record):
        return broken
    if "rows" not in record:
        return ["it has no rows, so that nothing follows from them."]
    found = contradiction(record)
    return [] if found is None else [f"{found}."]


def problems_in(store: ResultStore) -> Iterator[tuple[str, list[str]]]:
    """(file, what is wrong with it) of every record file, nothing where all is well.

    Raises:
        OSError: a file cannot be read.
    """
    for path in store.paths():
        try:
            record = read_file(path)
        except ValueError as error:
            yield str(path), [str(error)]
            continue
        yield str(path), [f"{path}: {one}" for one in problems(record)]
