"""Committed reference results: compact records, one file of JSON lines for each table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from bench.compact import line
from bench.files import write_text
from bench.published import tables_folder
from bench.results import Record, parse


def reference_records(name: str) -> list[Record]:
    """The committed records of `table1` and its like, in the order of the file.

    Raises:
        FileNotFoundError: none are committed under that name.
        ValueError: a line that is no record.
    """
    try:
        text = (tables_folder("reference") / f"{name}.jsonl").read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There are no reference results of {name}.") from error
    return [
        parse(one, f"tables/reference/{name}.jsonl, line {number}")
        for number, one in enumerate(text.splitlines(), start=1)
    ]


def write_reference(path: Path, records: Iterable[Record]) -> Path:
    """Write compact records, ordered by key, so that equal results make equal files.

    Raises:
        OSError: the file cannot be written; nothing partial is left.
    """
    lines = sorted(map(line, records), key=lambda text: str(json.loads(text)["key"]))
    return write_text(path, "".join(f"{text}\n" for text in lines))
