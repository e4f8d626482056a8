"""Rows of a data file, read field by field with errors that name the place and the value."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SHOWN = 60  # characters of an offending value that an error message repeats


@dataclass(frozen=True)
class Row:
    """One JSON object; `where` is its place in the file, for error messages."""

    fields: Mapping[str, object]
    where: str

    def text(self, field: str) -> str:
        """A string field, as it is in the file; ValueError if absent, no string or not Unicode."""
        return self._as_text(field, self._get(field, "a string"))

    def texts(self, field: str) -> tuple[str, ...]:
        """A field that is a list of strings; errors as in `text`."""
        wanted = "a list of strings"
        return tuple(self._as_text(field, value, wanted) for value in self._list(field, wanted))

    def rows(self, field: str) -> tuple[Row, ...]:
        """A field that is a list of objects; errors as in `text`."""
        wanted = "a list of objects"
        rows = []
        for number, value in enumerate(self._list(field, wanted)):
            if not isinstance(value, dict):
                raise self.refusal(field, wanted, f"{_describe(value)} as item {number}")
            rows.append(Row(value, f"{self.where}, field {field!r}, item {number}"))
        return tuple(rows)

    def row(self, field: str) -> Row:
        """A field that is an object; errors as in `text`."""
        value = self._get(field, "an object")
        if not isinstance(value, dict):
            raise self.refusal(field, "an object", _describe(value))
        return Row(value, f"{self.where}, field {field!r}")

    def choice(self, field: str, names: Sequence[str]) -> int:
        """The index in `names` of a field that is a name or an index; errors as in `text`."""
        wanted = f"one of {', '.join(names)}, or a number from 0 to {len(names) - 1}"
        value = self._get(field, wanted)
        numbers = {str(number): number for number in range(len(names))}
        known = {name: number for number, name in enumerate(names)} | numbers
        text = value if isinstance(value, str) else json.dumps(value)
        if text not in known:
            raise self.refusal(field, wanted, _describe(value))
        return known[text]

    def _get(self, field: str, wanted: str) -> object:
        if field not in self.fields:
            present = ", ".join(map(repr, self.fields)) or "no field at all"
            raise self.refusal(field, wanted, f"no such field (the row has: {present})")
        return self.fields[field]

    def _list(self, field: str, wanted: str) -> list[object]:
        value = self._get(field, wanted)
        if not isinstance(value, list):
            raise self.refusal(field, wanted, _describe(value))
        return value

    def _as_text(self, field: str, value: object, wanted: str = "a string") -> str:
        if not isinstance(value, str):
            raise self.refusal(field, wanted, _describe(value))
        try:
            value.encode()
        except UnicodeEncodeError:
            # JSON can spell half of a surrogate pair; no tokenizer takes it.
            raise self.refusal(field, "Unicode text", f"a lone surrogate in {value!r}") from None
        return value

    def refusal(self, field: str, wanted: str, got: str) -> ValueError:
        """The error for a field with a wrong value; `got` describes the value in words."""
        return ValueError(f"{self.where}, field {field!r}: wanted {wanted}, got {got}.")


def read_rows(path: Path, content: bytes) -> Iterator[Row]:
    """Rows of a JSON file with a list of objects, numbered from 0; ValueError for any other."""
    values = _parsed(str(path), _decoded(path, content))
    if not isinstance(values, list):
        raise ValueError(f"{path}: wanted a JSON list of rows, got {_describe(values)}.")
    if not values:
        raise ValueError(f"{path}: wanted rows, got an empty list.")
    for number, value in enumerate(values):
        where = f"{path}, row {number}"
        if not isinstance(value, dict):
            raise ValueError(f"{where}: wanted an object, got {_describe(value)}.")
        yield Row(value, where)


def read_json_lines(path: Path, content: bytes) -> Iterator[Row]:
    """Rows of a file with one JSON object a line, numbered from 0; empty lines do not count."""
    lines = (line for line in _decoded(path, content).split("\n") if line.strip())
    for number, line in enumerate(lines):
        where = f"{path}, row {number}"
        value = _parsed(where, line)
        if not isinstance(value, dict):
            raise ValueError(f"{where}: wanted an object, got {_describe(value)}.")
        yield Row(value, where)


def read_csv(path: Path, content: bytes, columns: Sequence[str]) -> Iterator[Row]:
    """Rows of a CSV file with these columns, as strings; a first row that names them is no row."""
    reader = csv.reader(io.StringIO(_decoded(path, content), newline=""), strict=True)
    number = 0
    try:
        for values in reader:
            if not values or values == list(columns):
                continue
            where = f"{path}, row {number}"
            if len(values) != len(columns):
                wanted = f"wanted {len(columns)} columns ({', '.join(columns)})"
                raise ValueError(f"{where}: {wanted}, got {len(values)}.")
            yield Row(dict(zip(columns, values, strict=True)), where)
            number += 1
    except csv.Error as error:
        raise ValueError(f"{path} is not usable CSV: {error} (line {reader.line_num}).") from None


def _decoded(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = content[error.start]
        raise ValueError(
            f"{path} is not UTF-8 text: byte {byte:#04x} at offset {error.start}."
        ) from None


def _parsed(where: str, text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{where} is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        ) from None
    except (ValueError, RecursionError) as error:  # a number too long, lists nested too deeply
        raise ValueError(f"{where} is not usable JSON: {error}.") from None


def _describe(value: object) -> str:
    """A JSON value in a few words: its type, and the value itself where it is short."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        return f"an object with {len(value)} fields"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    kind = {str: "string", bool: "boolean"}.get(type(value), "number")
    return f"the {kind} {json.dumps(value)[:_SHOWN]}"
