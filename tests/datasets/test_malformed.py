"""Every malformed file gets a sentence with the file, the row, the field, wanted and got."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.datasets import get_dataset
from bench.datasets.base import Split
from bench.datasets.rows import read_rows
from tests.datasets.example_rows import ripe_row, write, zsre_row

TARGETS = "item 0, field 'targets': wanted a list of strings"


def error_of(key: str, split: Split, directory: Path) -> str:
    with pytest.raises(ValueError, match=str(directory)) as caught:
        get_dataset(key).load(split, directory)
    return str(caught.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"src": "Who?"}, "'alt': wanted a string, got no such field (the row has: 'src')"),
        ({}, "'alt': wanted a string, got no such field (the row has: no field at all)"),
        (zsre_row(src=5), "'src': wanted a string, got the number 5"),
        (zsre_row(src=True), "'src': wanted a string, got the boolean true"),
        (zsre_row(loc=None), "'loc': wanted a string, got null"),
        (zsre_row(alt=["a"]), "'alt': wanted a string, got a list of 1"),
        (zsre_row(alt={"a": 1}), "'alt': wanted a string, got an object with 1 fields"),
        (zsre_row(alt="\ud800"), "'alt': wanted Unicode text, got a lone surrogate in '\\ud800'"),
    ],
)
def test_a_bad_text_field(row: dict[str, object], message: str, tmp_path: Path) -> None:
    path = write(tmp_path, "zsre", "test", [zsre_row(), row])
    assert error_of("zsre", "test", tmp_path) == f"{path}, row 1, field {message}."


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("x", ': wanted a list of objects, got the string "x".'),
        (["x"], ': wanted a list of objects, got the string "x" as item 0.'),
        ([{"prompt": "p"}], f", {TARGETS}, got no such field (the row has: 'prompt')."),
        ([{"prompt": "p", "targets": "t"}], f', {TARGETS}, got the string "t".'),
        ([{"prompt": "p", "targets": ["t", 3]}], f", {TARGETS}, got the number 3."),
        (
            [{"prompt": 1, "targets": ["t"]}],
            ", item 0, field 'prompt': wanted a string, got the number 1.",
        ),
    ],
)
def test_a_bad_list_of_probes(value: object, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, "ripple_edits", "train", [ripe_row(Forgetfulness=value)])
    expected = f"{path}, row 0, field 'Forgetfulness'{message}"
    assert error_of("ripe", "train", tmp_path) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", " is not valid JSON: Expecting value (line 1, column 1)."),
        (b'[{"src": "a"\n', " is not valid JSON: Expecting ',' delimiter (line 2, column 1)."),
        (b'["\xff"]', " is not UTF-8 text: byte 0xff at offset 2."),
        (b"{}", ": wanted a JSON list of rows, got an object with 0 fields."),
        (b'"rows"', ': wanted a JSON list of rows, got the string "rows".'),
        (b"[]", ": wanted rows, got an empty list."),
        (b"[[]]", ", row 0: wanted an object, got a list of 0."),
        (b"[null]", ", row 0: wanted an object, got null."),
    ],
)
def test_a_file_that_is_no_list_of_rows(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "zsre_mend_eval.json"
    path.write_bytes(content)
    assert error_of("zsre", "test", tmp_path) == f"{path}{message}"


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[" + b"9" * 10_000 + b"]"])
def test_json_beyond_the_parsers_limits_is_one_sentence(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"^data\.json is not usable JSON: .*[.]$"):
        list(read_rows(Path("data.json"), content))
