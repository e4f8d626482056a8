"""Records on disk: one JSON file per cell, written whole or not at all."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.files import write_text
from bench.identity import Identity
from bench.record_kinds import identity_of
from editors.parts.file_names import check_file_name

SCHEMA_VERSION = 1

Record = dict[str, Any]


def complete(
    cell: Identity,
    editor: Mapping[str, Any],
    provenance: Mapping[str, Any],
    body: Mapping[str, Any],
) -> Record:
    """The record of a finished cell. `body` holds `data`, `summary`, `health` and `rows`."""
    return _record(cell, editor, provenance, {"state": "complete"}) | dict(body)


def failed(
    cell: Identity, editor: Mapping[str, Any], provenance: Mapping[str, Any], error: BaseException
) -> Record:
    """The record of a cell that raised: no results, the error instead."""
    status = {
        "state": "failed",
        "error": type(error).__name__,
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
    }
    return _record(cell, editor, provenance, status)


def _record(
    cell: Identity,
    editor: Mapping[str, Any],
    provenance: Mapping[str, Any],
    status: Mapping[str, Any],
) -> Record:
    return {
        "schema": SCHEMA_VERSION,
        "key": cell.key(),
        "status": dict(status),
        "cell": cell.to_dict(),
        "editor": dict(editor),
        "provenance": dict(provenance),
    }


@dataclass(frozen=True)
class ResultStore:
    """A directory of `<key>.json` files."""

    directory: Path

    def path(self, key: str) -> Path:
        """Where the record of a key is, or would be.

        Raises:
            ValueError: a key that is no file name.
        """
        return self.directory / f"{check_file_name('record', key)}.json"

    def prepare(self) -> None:
        """Make the directory, before any work whose record could then not be kept.

        Raises:
            OSError: it cannot be made or written.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        if not os.access(self.directory, os.W_OK):
            raise PermissionError(f"Records cannot be written to {self.directory}.")

    def write(self, record: Record) -> Path:
        """Put a record in place by one rename, after it has reached the disk.

        Raises:
            OSError: the directory or the file cannot be written; no partial file is left.
        """
        text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return write_text(self.path(record["key"]), text)

    def read(self, key: str) -> Record | None:
        """The record of a key, None if there is none.

        Raises:
            ValueError: a file that is no record of that key.
        """
        path = self.path(key)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        return _checked(path, text)

    def lookup(self, cell: Identity) -> Record | None:
        """The complete record of a cell, None if it has not been run or has failed."""
        record = self.read(cell.key())
        return record if record is not None and is_complete(record) else None

    def records(self) -> Iterator[Record]:
        """All records, in the order of their keys."""
        for path in sorted(self.directory.glob("*.json")):
            yield _checked(path, path.read_text(encoding="utf-8"))


def is_complete(record: Record) -> bool:
    """Whether a record holds results."""
    return bool(record["status"]["state"] == "complete")


def parse(text: str, place: str) -> Record:
    """The record in a text.

    Raises:
        ValueError: it is none, or its key is that of another cell; `place` is named.
    """
    try:
        record = json.loads(text)
        schema, key = record["schema"], record["key"]
        matches = key == identity_of(record["cell"]).key()
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{place} is no result record; move it away.") from error
    if schema != SCHEMA_VERSION:
        raise ValueError(f"{place} has record schema {schema}, expected {SCHEMA_VERSION}.")
    if not matches:
        raise ValueError(f"{place} holds another cell than its key says; move it away.")
    return dict(record)


def _checked(path: Path, text: str) -> Record:
    """The record in a file's text, refused where it is not what the file's name promises."""
    record = parse(text, str(path))
    if record["key"] != path.stem:
        raise ValueError(f"{path} holds another cell than its name says; move it away.")
    return record
