"""Records on disk: one sealed JSON file per cell, written whole or not at all.

The seal of a record is a digest of all else in it, so that no change goes unseen.
"""

from __future__ import annotations

import hashlib
import json
import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from bench.core.cells import Identity, canonical
from bench.core.console import warn
from bench.core.files import UnwritableError, set_aside, write_bytes
from bench.evaluation.record_kinds import identity_of
from editors.parts.checks import check_file_name

SCHEMA_VERSION = 2
SCHEMAS = (1, 2)  # that are read; the first has no digest
SEALED_SINCE = 2  # the first with one
MAX_BYTES = 2**30  # of one record (ours: a hundred times that of 1,000 edits)

Record = dict[str, Any]
_PARTS = ("status", "cell", "editor", "provenance")
_HEAD = ("schema", "key", "digest")  # stand first in a file
_sound: set[bytes] = (
    set()
)  # digests of texts that this process has checked; commands read some often


class DamagedRecordError(ValueError):
    """What should be a record and is none, or is not what it was when it was written."""

    seen: os.stat_result | None = None  # the file, as it was when it was read


class OtherSchemaError(ValueError):
    """A record that another version of this package has written."""


Facts = Mapping[str, Any]


def complete(cell: Identity, editor: Facts, provenance: Facts, body: Facts) -> Record:
    """The record of a finished cell. `body` holds `data`, `summary`, `health` and `rows`."""
    return _record(cell, editor, provenance, {"state": "complete"}) | dict(body)


def failed(cell: Identity, editor: Facts, provenance: Facts, error: BaseException) -> Record:
    """The record of a cell that raised: no results, the error instead."""
    texts = {"message": str(error), "traceback": "".join(traceback.format_exception(error))}
    # Half a character, as in odd file names, is written as its number.
    texts = {k: text.encode("utf-8", "backslashreplace").decode() for k, text in texts.items()}
    status = {"state": "failed", "error": type(error).__name__, **texts}
    return _record(cell, editor, provenance, status)


def _record(cell: Identity, editor: Facts, provenance: Facts, status: Facts) -> Record:
    return {
        "schema": SCHEMA_VERSION,
        "key": cell.key(),
        "protocol": cell.protocol_id,
        "status": dict(status),
        "cell": cell.to_dict(),
        "editor": dict(editor),
        "provenance": dict(provenance),
    }


def is_complete(record: Record) -> bool:
    """Whether a record holds results."""
    return bool(record["status"]["state"] == "complete")


def protocol_of(record: Record) -> str:
    """The id of the protocol that a record follows; earlier records do not name theirs."""
    return identity_of(record["cell"]).protocol_id


def failure_of(record: Record) -> str:
    """Why a cell failed, in one line."""
    status = record["status"]
    return " ".join(f"{status.get('error')}: {status.get('message')}".split())


def digest_of(record: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON of a record without its digest, in hexadecimal."""
    rest = {name: value for name, value in record.items() if name != "digest"}
    return hashlib.sha256(canonical(rest).encode()).hexdigest()


def sealed(record: Mapping[str, Any]) -> Record:
    """The record with the digest of what it is now; that of an earlier schema stays as it is."""
    if record["schema"] < SEALED_SINCE:
        return dict(record)
    whole = {**record, "digest": digest_of(record)}
    return {name: whole[name] for name in (*_HEAD, *whole)}


def mark_of(record: Mapping[str, Any]) -> str:
    """What distinguishes a record from an earlier or later record of the same cell."""
    return str(record.get("digest") or digest_of(record))


def encoded(record: Mapping[str, Any]) -> bytes:
    """The sealed record as compact JSON in UTF-8; a ValueError for values that JSON cannot hold."""
    text = json.dumps(sealed(record), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()


def read_file(path: Path) -> Record:
    """The record in a file whose name is its key; errors as those of `parse`."""
    with path.open("rb") as file:
        seen = os.fstat(file.fileno())
        content = file.read(MAX_BYTES + 1)
    try:
        record = parse(content, str(path))
        if record["key"] != path.stem:
            raise DamagedRecordError(f"{path} holds another cell than its name says.")
    except DamagedRecordError as error:
        error.seen = seen
        raise
    return record


def parse(content: str | bytes, place: str) -> Record:
    """The record in a text, as it was sealed.

    Raises:
        DamagedRecordError: it is none, or altered, or its key is that of another cell; `place` is
            named.
        OtherSchemaError: it is of another version of this package.
    """
    if len(content) > MAX_BYTES:
        raise DamagedRecordError(f"{place} is larger than any result record.")
    text = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    seen = hashlib.sha256(text).digest()
    if seen in _sound:
        return dict(json.loads(content))
    record = _checked(content, place)
    _sound.add(seen)
    return record


def _checked(content: str | bytes, place: str) -> Record:
    try:
        record = dict(_loads(content))
        schema = record["schema"]
        if type(schema) is int and schema not in SCHEMAS:
            raise OtherSchemaError(
                f"{place} has record schema {schema}, expected {' or '.join(map(str, SCHEMAS))}."
            )
        identity, states = identity_of(record["cell"]), {"complete", "failed"}
        shaped = type(schema) is int and record["status"]["state"] in states
        shaped &= all(isinstance(record[name], dict) for name in _PARTS)
        protocol, digest = identity.protocol_id, record.get("digest")
        checks = {
            "is no result record": shaped,
            "names another protocol than its cell's": record.get("protocol", protocol) == protocol,
            "holds another cell than its key says": record["key"] == identity.key(),
            "is not what was written: its digest is another": digest == digest_of(record)
            or ("digest" not in record and schema < SEALED_SINCE),
        }
    except OtherSchemaError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedRecordError(f"{place} is no result record.") from error
    for sentence, holds in checks.items():
        if not holds:
            raise DamagedRecordError(f"{place} {sentence}.")
    return record


def _loads(text: str | bytes) -> Any:
    """The value of a JSON text in UTF-8, else a ValueError.

    Anybody may write such files: NaN, a name twice in one object and a text nested too deeply are
    refused, which standard parsers accept (pydantic's cannot refuse a name twice).
    """
    plain = text.decode("utf-8-sig") if isinstance(text, bytes) else text
    try:
        return json.loads(plain, parse_constant=_refuse, object_pairs_hook=_object)
    except RecursionError as error:
        raise ValueError("The JSON is nested too deeply.") from error


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"JSON has no number {name}.")


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("A JSON object has a name twice.")
    return values


@dataclass(frozen=True)
class ResultStore:
    """A directory of `<key>.json` files, which several processes may share."""

    directory: Path

    def path(self, key: str) -> Path:
        """Where the record of a key is, or would be."""
        return self.directory / f"{check_file_name('record', key)}.json"

    @property
    def leases(self) -> Path:
        """The folder of what is being computed."""
        return self.directory / "claims"

    @property
    def checkpoints(self) -> Path:
        """The folder of what was reached in the middle of a cell."""
        return self.directory / "checkpoints"

    def prepare(self) -> None:
        """Create the directory, before any work whose record could then not be stored."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if not os.access(self.directory, os.W_OK):
            raise PermissionError(f"Records cannot be written to {self.directory}.")

    def write(self, record: Record) -> Path:
        """Seal a record and put it in place by one rename, after it has reached the disk."""
        return self.put(record["key"], encoded(record))

    def put(self, key: str, content: bytes) -> Path:
        """Put an encoded record in place, in the manner of `write`."""
        path = self.path(key)
        try:
            return write_bytes(path, content)
        except OSError as error:
            raise UnwritableError.of(path, error) from error

    def read(self, key: str) -> Record | None:
        """The record of a key, None if there is none; a damaged file is named and set aside."""
        return self._sound(self.path(key))

    def lookup(self, cell: Identity) -> Record | None:
        """The complete record of a cell, None if it has not been run or has failed."""
        record = self.read(cell.key())
        return record if record is not None and is_complete(record) else None

    def records(self) -> Iterator[Record]:
        """All records, in the order of their keys; what is none is named and left out."""
        for path in self.paths():
            try:
                record = self._sound(path)
            except OtherSchemaError as error:
                warn(f"left out as stale: {error}")
                continue
            if record is not None:
                yield record

    def paths(self) -> list[Path]:
        """The files that should be records, in the order of their names."""
        return sorted(path for path in self.directory.glob("*.json") if path.is_file())

    def _sound(self, path: Path) -> Record | None:
        """The record in a file, None where there is none or none any more."""
        while True:
            try:
                return read_file(path)
            except FileNotFoundError:
                return None
            except DamagedRecordError as error:
                if _put_away(path, error):
                    return None


def _put_away(path: Path, error: DamagedRecordError) -> bool:
    """Name a damaged file and set it aside; False where a sound file has taken its place."""
    try:
        new = None if error.seen is None else set_aside(path, error.seen)
    except OSError as reason:
        why = reason.strerror or str(reason)
        warn(f"warning: {error} It is skipped, and cannot be set aside: {why}.")
        return True
    if new is not None:
        warn(f"warning: {error} It is set aside as {new.name}.")
    return new is not None
