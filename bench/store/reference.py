"""Committed reference results: files of compact records as JSON lines, and Figure 4's data.

`table1.jsonl` and its like hold a table's cells, `table1-recent.jsonl` and its like those of
editors that are not in the paper's tables, `FIGURE_3` RECIPE with prompts of other lengths,
`COVARIANCE` ROME and MEMIT without the covariance of their keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from bench.core.files import write_text
from bench.core.published import tables_folder
from bench.store.compact import line
from bench.store.results import Record, parse

FIGURE_3 = "figure3"
COVARIANCE = "covariance"
MAP = "figure4.json"


def table_files(number: int) -> tuple[str, str]:
    """Names of a table's files: of the paper's editors, and of later ones."""
    return f"table{number}", f"table{number}-recent"


def reference_folder() -> Path:
    """`tables/reference` of the wheel or of a checkout, or where it would be."""
    try:
        return Path(str(tables_folder("reference")))
    except FileNotFoundError:
        return Path("tables") / "reference"


def has_reference(name: str) -> bool:
    """Whether records are committed under that name."""
    return _file(name).is_file()


def reference_records(name: str) -> list[Record]:
    """The committed records of `table1` and its like, in the order of the file.

    Raises:
        FileNotFoundError: none are committed under that name.
        ValueError: a line that is no record, or no line at all.
    """
    if not has_reference(name):
        raise FileNotFoundError(f"There are no reference results of {name}.")
    return _records(_file(name), f"tables/reference/{name}.jsonl")


def table_records(number: int) -> list[Record]:
    """The committed records of a table: those of the paper's editors, then of later ones.

    Raises:
        FileNotFoundError: none of this table are committed.
        ValueError: a line that is no record, or no line at all.
    """
    own, recent = table_files(number)
    later = reference_records(recent) if has_reference(recent) else []
    return [*reference_records(own), *later]


def write_reference(path: Path, records: Iterable[Record]) -> Path:
    """Write compact records, ordered by key, so that equal results make equal files.

    Raises:
        OSError: the file cannot be written; nothing partial is left.
    """
    lines = sorted(map(line, records), key=lambda text: str(json.loads(text)["key"]))
    return write_text(path, "".join(f"{text}\n" for text in lines))


def add_to_reference(path: Path, records: Iterable[Record]) -> Path:
    """Write compact records beside those of other cells that the file has, if it is there.

    Raises:
        OSError: the file cannot be read or written; nothing partial is left.
        ValueError: a line of it that is no record.
    """
    there = _records(path, str(path)) if path.exists() else []
    by_key = {record["key"]: record for record in [*there, *records]}
    return write_reference(path, by_key.values())


def _records(path: Path, place: str) -> list[Record]:
    lines = path.read_bytes().splitlines()
    if not lines:
        raise ValueError(f"{place} holds no record.")
    return [parse(one, f"{place}, line {number}") for number, one in enumerate(lines, start=1)]


def _file(name: str) -> Path:
    return reference_folder() / f"{name}.jsonl"
