"""The published JSON Schema of records, and what in a record breaks it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

SCHEMA = Path(__file__).resolve().parents[1] / "record.schema.json"
INTEGERS = {"type": "integer"}
_NAMED = 3  # violations of one record; the others mostly follow from these
_LENGTH = 160  # of the words of one


def violations(record: Any) -> list[str]:
    """What breaks the schema, one sentence each; the first few."""
    found = []
    for error in _validator().iter_errors(record):
        place = "/".join(map(str, error.absolute_path)) or "the record"
        message = " ".join(str(error.message).split())
        cut = message if len(message) <= _LENGTH else f"... {message[-_LENGTH:]}"
        found.append(f"{place}: {cut}.")
        if len(found) == _NAMED:
            break
    return found


@cache
def _validator() -> Any:
    """Of the published schema, quick on the long lists of numbers that records hold."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    plain = Draft202012Validator.VALIDATORS["items"]

    def items(validator: Any, schema: Any, found: Any, parent: Any) -> Iterator[Any]:
        if schema == INTEGERS and isinstance(found, list) and set(map(type, found)) <= {int}:
            return
        yield from plain(validator, schema, found, parent)

    whole = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return extend(Draft202012Validator, {"items": items})(_inlined(whole, whole["$defs"]))


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """The same with definitions in the places that name them, which are not looked up each time."""
    if isinstance(schema, list):
        return [_inlined(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].removeprefix("#/$defs/")], definitions)
    parts = {name: part for name, part in schema.items() if name != "$defs"}
    return {name: _inlined(part, definitions) for name, part in parts.items()}
