"""Every malformed file gets one sentence with the file, the row, the field, wanted and got."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.datasets import SPLITS, available, get_dataset
from bench.datasets.base import Split
from bench.datasets.rows import read_rows
from tests.datasets.example_rows import EXAMPLE_ROWS, FILE_NAMES, ripe_row, write, zsre_row


def error_of(key: str, split: Split, directory: Path) -> str:
    with pytest.raises(ValueError, match=str(directory)) as caught:
        get_dataset(key).load(split, directory)
    return str(caught.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"src": "Who?"},
            "field 'alt': wanted a string, got no such field (the row has: 'src').",
        ),
        ({}, "field 'alt': wanted a string, got no such field (the row has: no field at all)."),
        (zsre_row(src=5), "field 'src': wanted a string, got the number 5."),
        (zsre_row(src=True), "field 'src': wanted a string, got the boolean true."),
        (zsre_row(loc=None), "field 'loc': wanted a string, got null."),
        (zsre_row(alt=["a"]), "field 'alt': wanted a string, got a list of 1."),
        (zsre_row(alt={"a": 1}), "field 'alt': wanted a string, got an object with 1 fields."),
        (
            zsre_row(alt="\ud800"),
            "field 'alt': wanted Unicode text, got a lone surrogate in '\\ud800'.",
        ),
    ],
)
def test_a_bad_text_field(row: dict[str, object], message: str, tmp_path: Path) -> None:
    path = write(tmp_path, "zsre", "test", [zsre_row(), row])
    assert error_of("zsre", "test", tmp_path) == f"{path}, row 1, {message}"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("x", "field 'Forgetfulness': wanted a list of objects, got the string \"x\"."),
        (
            ["x"],
            ("field 'Forgetfulness': wanted a list of objects, got the string \"x\" as item 0."),
        ),
        (
            [{"prompt": "p"}],
            (
                "field 'Forgetfulness', item 0, field 'targets': wanted a list of strings, "
                "got no such field (the row has: 'prompt')."
            ),
        ),
        (
            [{"prompt": "p", "targets": "t"}],
            (
                "field 'Forgetfulness', item 0, field 'targets': wanted a list of strings, "
                'got the string "t".'
            ),
        ),
        (
            [{"prompt": "p", "targets": ["t", 3]}],
            (
                "field 'Forgetfulness', item 0, field 'targets': wanted a list of strings, "
                "got the number 3."
            ),
        ),
        (
            [{"prompt": 1, "targets": ["t"]}],
            "field 'Forgetfulness', item 0, field 'prompt': wanted a string, got the number 1.",
        ),
    ],
)
def test_a_bad_list_of_probes(value: object, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, "ripple_edits", "train", [ripe_row(Forgetfulness=value)])
    assert error_of("ripe", "train", tmp_path) == f"{path}, row 0, {message}"


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


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), value=json_values)
def test_any_value_in_any_field_loads_or_is_named(
    data: st.DataObject, value: object, tmp_path: Path
) -> None:
    key = data.draw(st.sampled_from(available()))
    split = data.draw(st.sampled_from(SPLITS))
    good = EXAMPLE_ROWS[key]()
    field = data.draw(st.sampled_from(sorted(good)))
    path = tmp_path / FILE_NAMES[key, split]
    path.write_text(json.dumps([good, good | {field: value}]))
    message = ""
    try:
        loaded = get_dataset(key).load(split, tmp_path)
    except ValueError as error:
        message = str(error)
    if message:
        assert re.match(
            rf"{re.escape(str(path))}, row 1, field '{field}'.*: wanted .*, got ", message
        )
    else:
        skipped_rows = sum(n for reason, n in loaded.skipped.items() if "row" in reason)
        assert len(loaded.samples) + skipped_rows == loaded.rows == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=200))
def test_any_bytes_load_or_get_a_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "zsre_mend_eval.json").write_bytes(content)
    message = error_of("zsre", "test", tmp_path)
    assert message.startswith(str(tmp_path / "zsre_mend_eval.json"))
    assert message.endswith(".")
    assert "\n" not in message
