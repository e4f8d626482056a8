"""The seal of a record: a digest of all else that it says, so that no change goes unseen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from bench.core.identity import canonical

SEALED_SINCE = 2  # the first record schema with a digest
_HEAD = ("schema", "key")


def digest_of(record: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON of a record without its digest, in hexadecimal.

    Raises:
        ValueError: a value that JSON cannot hold.
    """
    rest = {name: value for name, value in record.items() if name != "digest"}
    return hashlib.sha256(canonical(rest).encode()).hexdigest()


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with the digest of what it is now; one of an earlier schema stays as it is.

    Raises:
        ValueError: a value that JSON cannot hold.
    """
    if record["schema"] < SEALED_SINCE:
        return dict(record)
    head = {name: record[name] for name in _HEAD}
    return {**head, "digest": digest_of(record), **_without(record, (*_HEAD, "digest"))}


def holds(record: Mapping[str, Any]) -> bool:
    """Whether a record is as it was sealed; earlier schemas have no seal to break."""
    if "digest" not in record:
        return bool(record["schema"] < SEALED_SINCE)
    return bool(record["digest"] == digest_of(record))


def mark_of(record: Mapping[str, Any]) -> str:
    """What tells a record from an earlier or later one of the same cell."""
    return str(record.get("digest") or digest_of(record))


def encoded(record: Mapping[str, Any]) -> bytes:
    """The sealed record as compact JSON in UTF-8.

    Raises:
        ValueError: a value that JSON cannot hold.
    """
    return json.dumps(
        sealed(record), ensure_ascii=False, allow_nan=False, separators=(",", ":")
    ).encode()


def _without(record: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}
