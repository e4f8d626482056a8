"""Rows of a data file, read field by field with errors that name the place and the value."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SHOWN = 60  # characters of an offending value that an error message repeats
_SPACE = re.compile(r"[ \t\r\n]*")  # between JSON values
_NULL: Mapping[str, object] = {}  # the fields of a null object: each is null


class _Repeated(dict[str, object]):
    """An object of a file that has a field more than once, and the name of that field."""

    def __init__(self, pairs: Sequence[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.field = next(name for name, count in Counter(n for n, _ in pairs).items() if count > 1)


@dataclass(frozen=True)
class Row:
    """One JSON object; `where` is its place in the file, for error messages.

    With `null_is_empty` a null is an empty text or list, here and in the objects inside.

    Raises:
        ValueError: an object with a field twice.
    """

    fields: Mapping[str, object]
    where: str
    name: str = ""  # its number in the file, or the key that it has there
    null_is_empty: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.fields, _Repeated):
            raise ValueError(f"{self.where}: the field {self.fields.field!r} is given twice.")

    def text(self, field: str) -> str:
        """A string field, as it is in the file; ValueError if absent, no string or not Unicode."""
        return self.as_text(field, self._get(field, "a string"))

    def texts(self, field: str) -> tuple[str, ...]:
        """A field that is a list of strings; errors as in `text`."""
        wanted = "a list of strings"
        return tuple(self.as_text(field, value, wanted) for value in self._list(field, wanted))

    def rows(self, field: str) -> tuple[Row, ...]:
        """A field that is a list of objects; errors as in `text`."""
        wanted = "a list of objects"
        rows = []
        for number, value in enumerate(self._list(field, wanted)):
            if not isinstance(value, dict) and not self._is_empty(value):
                raise self.refusal(field, wanted, f"{_describe(value)} as item {number}")
            rows.append(self._inner(value, f"field {field!r}, item {number}"))
        return tuple(rows)

    def row(self, field: str) -> Row:
        """A field that is an object; errors as in `text`."""
        value = self._get(field, "an object")
        if not isinstance(value, dict) and not self._is_empty(value):
            raise self.refusal(field, "an object", _describe(value))
        return self._inner(value, f"field {field!r}")

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
        if self.fields is _NULL:
            return None
        if field not in self.fields:
            present = ", ".join(map(repr, self.fields)) or "no field at all"
            raise self.refusal(field, wanted, f"no such field (the row has: {present})")
        return self.fields[field]

    def _list(self, field: str, wanted: str) -> list[object]:
        value = self._get(field, wanted)
        if self._is_empty(value):
            return []
        if not isinstance(value, list):
            raise self.refusal(field, wanted, _describe(value))
        return value

    def _inner(self, value: Any, place: str) -> Row:
        fields = _NULL if value is None else value
        return Row(fields, f"{self.where}, {place}", null_is_empty=self.null_is_empty)

    def _is_empty(self, value: object) -> bool:
        return value is None and self.null_is_empty

    def as_text(self, field: str, value: object, wanted: str = "a string") -> str:
        """The value if it is Unicode text; errors as in `text`."""
        if self._is_empty(value):
            return ""
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


def read_rows(path: Path, content: bytes, *, null_is_empty: bool = False) -> Iterator[Row]:
    """Rows of a JSON or CSV file, numbered from 0; ValueError for a file without any.

    JSON is a list of objects, objects one after another (JSON lines), or an object with a row for
    each id, which is the row's name then. The first line of a CSV file has the names of fields.
    """
    if path.suffix == ".csv":
        yield from _csv_rows(path, content, null_is_empty=null_is_empty)
        return
    for name, value in _named(path, _values(path, _decoded(path, content))):
        where = f"{path}, row {name}"
        fields = _NULL if value is None and null_is_empty else value
        if not isinstance(fields, dict):
            raise ValueError(f"{where}: wanted an object, got {_describe(value)}.")
        row = Row(fields, where, name, null_is_empty)
        row.as_text("the id", name)
        yield row


def _is_of_rows(value: Mapping[str, object]) -> bool:
    return bool(value) and all(isinstance(row, dict) for row in value.values())


def _named(path: Path, values: Sequence[object]) -> Iterable[tuple[str, object]]:
    """The rows among the values of a file, with their names."""
    whole = values[0]
    if len(values) == 1 and isinstance(whole, dict) and _is_of_rows(whole):
        return Row(whole, str(path)).fields.items()
    if len(values) > 1 or (path.suffix == ".jsonl" and isinstance(whole, dict)):
        return ((str(number), value) for number, value in enumerate(values))
    if not isinstance(whole, list):
        raise ValueError(
            f"{path}: wanted a JSON list of rows, a row a line, or an object with a row for each "
            f"id, got {_describe(whole)}."
        )
    if not whole:
        raise ValueError(f"{path}: wanted rows, got an empty list.")
    return ((str(number), value) for number, value in enumerate(whole))


def _csv_rows(path: Path, content: bytes, *, null_is_empty: bool) -> Iterator[Row]:
    """Rows of a CSV file by the names in its first line."""
    reader = csv.DictReader(io.StringIO(_decoded(path, content), newline=""), strict=True)
    number = -1
    try:
        names = reader.fieldnames or []
        if len(set(names)) < len(names):
            raise ValueError(f"{path}: wanted each column once, got {', '.join(names)}.")
        for number, values in enumerate(reader):
            where = f"{path}, row {number}"
            if None in values or None in values.values():
                raise ValueError(f"{where}: wanted {len(names)} columns ({', '.join(names)}).")
            yield Row(values, where, str(number), null_is_empty)
    except csv.Error as error:
        raise ValueError(f"{path} is not usable CSV: {error} (line {reader.line_num}).") from None
    if number < 0:
        raise ValueError(f"{path}: wanted rows below a line of column names, got none.")


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
    """The text without the byte order mark that some programs put in front."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = content[error.start]
        raise ValueError(
            f"{path} is not UTF-8 text: byte {byte:#04x} at offset {error.start}."
        ) from None


def _values(path: Path, text: str) -> list[object]:
    """The JSON values of a text, one after another, at least one."""
    if not text.strip():
        raise ValueError(f"{path}: wanted rows, got an empty file.")
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    values: list[object] = []
    end = len(text.rstrip())
    position = 0
    while position < end:
        where = f"{path}, row {len(values)}" if values or path.suffix == ".jsonl" else str(path)
        try:
            start = _SPACE.match(text, position)
            value, position = decoder.raw_decode(text, position if start is None else start.end())
        except json.JSONDecodeError as error:
            place = f"line {error.lineno}, column {error.colno}"
            raise ValueError(f"{where} is not valid JSON: {error.msg} ({place}).") from None
        except (ValueError, RecursionError) as error:  # a number too long, lists nested too deeply
            raise ValueError(f"{where} is not usable JSON: {error}.") from None
        values.append(value)
    return values


def _object(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    return values if len(values) == len(pairs) else _Repeated(pairs)


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
