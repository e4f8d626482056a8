"""Files in other forms than the published ones: the same rows, or what is not usable counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.datasets import get_dataset
from bench.datasets.base import (
    EMPTY_PROBE,
    EMPTY_PROMPT,
    EMPTY_TARGET,
    FILLED,
    NO_SUBJECT,
    UNFILLED,
    UNFILLED_PROBE,
)
from bench.datasets.rows import read_csv
from bench.evaluation.general_ability.sets import Source, load_sets
from tests.datasets.example_rows import counterfact_row, probe, ripe_row, write, zsre_row
from tests.evaluation.general_ability.tiny_items import write_sets

MARK = b"\xef\xbb\xbf"  # of byte order
ROWS = [zsre_row(), zsre_row(alt="Port Esk\u2028Orrin"), zsre_row(alt="東京")]


def as_list(rows: list[Any]) -> bytes:
    return json.dumps(rows, ensure_ascii=False, indent=1).encode()


def as_lines(rows: list[Any]) -> bytes:
    return "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


def one_after_another(rows: list[Any]) -> bytes:
    return "\n\n".join(json.dumps(row, indent=1) for row in rows).encode()


def by_id(rows: list[Any]) -> bytes:
    return json.dumps({str(number): row for number, row in enumerate(rows)}).encode()


@pytest.mark.parametrize("mark", [b"", MARK])
@pytest.mark.parametrize("form", [as_list, as_lines, one_after_another, by_id])
@pytest.mark.parametrize("name", ["zsre_mend_eval.json", "zsre_mend_eval_7.jsonl"])
def test_every_form_holds_the_same_rows(
    form: Callable[[list[Any]], bytes], mark: bytes, name: str, tmp_path: Path
) -> None:
    write(tmp_path / "plain", "zsre", "test", ROWS)
    (tmp_path / name).write_bytes(mark + form(ROWS))
    (tmp_path / "plain" / "zsre_mend_eval.json").rename(tmp_path / "other.json")
    loaded = get_dataset("zsre").load("test", tmp_path)
    whole = get_dataset("zsre").load_file("test", tmp_path / "other.json")
    assert loaded.samples == whole.samples
    assert loaded.rows == 3
    assert loaded.digest != whole.digest  # of the bytes as they are


def test_a_published_name_goes_before_the_same_in_lines(tmp_path: Path) -> None:
    write(tmp_path, "zsre", "test", ROWS)
    (tmp_path / "zsre_mend_eval.jsonl").write_bytes(as_lines(ROWS[:1]))
    assert get_dataset("zsre").load("test", tmp_path).rows == 3


def test_the_keys_of_an_object_are_the_names_of_its_rows(tmp_path: Path) -> None:
    write(tmp_path, "zsre", "test", {"a1": zsre_row(), "b/2": zsre_row(src=None), "c": zsre_row()})
    loaded = get_dataset("zsre").load("test", tmp_path)
    assert [sample.id for sample in loaded.samples] == ["zsre/test/a1", "zsre/test/c"]
    assert loaded.skipped == {EMPTY_PROMPT: 1}
    write(tmp_path, "zsre", "test", {"a1": zsre_row(), "b/2": zsre_row(src=5)})
    with pytest.raises(ValueError, match=r"row b/2, field 'src': wanted a string"):
        get_dataset("zsre").load("test", tmp_path)


def test_one_line_is_one_row(tmp_path: Path) -> None:
    (tmp_path / "ripe_test.jsonl").write_bytes(as_lines([ripe_row()]))
    assert len(get_dataset("ripe").load("test", tmp_path).samples) == 1


def test_sets_of_general_ability_have_the_same_forms(tmp_path: Path) -> None:
    plain = load_sets(write_sets(tmp_path / "a"))
    write_sets(tmp_path / "b")
    for path in (tmp_path / "b").glob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        path.write_bytes(MARK + as_list(rows))
    marked = load_sets(Source(kind="files", directory=tmp_path / "b", name="b"))
    assert {key: own.digest for key, own in marked.items()} == {
        key: own.digest for key, own in plain.items()
    }
    (row,) = read_csv(Path("a.csv"), MARK + b"question,answer\n1?,2\n", ("question", "answer"))
    assert row.fields == {"question": "1?", "answer": "2"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"src": None}, EMPTY_PROMPT),
        ({"alt": None}, EMPTY_TARGET),
        ({"rephrase": None}, EMPTY_PROBE),
        ({"loc": None}, EMPTY_PROBE),
        ({"loc_ans": None}, EMPTY_PROBE),
    ],
)
def test_null_is_what_an_empty_text_is(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    facts = []
    for value in (None, ""):
        row = zsre_row(**dict.fromkeys(changes, value))
        write(tmp_path, "zsre", "test", [zsre_row(), row])
        loaded = get_dataset("zsre").load("test", tmp_path)
        facts.append((loaded.samples, loaded.facts()))
        assert loaded.skipped == {reason: 1}
    assert facts[0] == facts[1]


def test_null_is_an_empty_list_or_an_item_without_texts(tmp_path: Path) -> None:
    row = ripe_row(
        Compositionality_I=None,
        Logical_Generalization=[None, probe("a", "one"), {"prompt": "b", "targets": None}],
        Forgetfulness=[{"prompt": None, "targets": ["two"]}, {"prompt": "c", "targets": [None]}],
        subject=None,
    )
    write(tmp_path, "ripple_edits", "test", [None, row])
    loaded = get_dataset("ripe").load("test", tmp_path)
    (sample,) = loaded.samples
    assert [p.prompt for p in sample.generality] == ["a"]
    assert loaded.skipped == {EMPTY_PROMPT: 1, EMPTY_PROBE: 4}
    assert loaded.fallbacks == {NO_SUBJECT: 1}


@pytest.mark.parametrize(
    ("prompt", "filled"),
    [
        ("The mother tongue of {} is", "The mother tongue of Lumo Vand is"),
        ("{subject} and {0} speak", "Lumo Vand and Lumo Vand speak"),
        ("[X] was born in", "Lumo Vand was born in"),
        ("In Python, what does Lumo Vand print with {}?", None),
        ("A set {a} of", None),
    ],
)
def test_a_prompt_with_an_open_place_takes_its_subject(
    prompt: str, filled: str | None, tmp_path: Path
) -> None:
    row = counterfact_row(prompt=prompt, rephrase_prompt=prompt)
    write(tmp_path, "counterfact", "test", [row])
    loaded = get_dataset("cf").load("test", tmp_path)
    (sample,) = loaded.samples
    assert sample.request.prompt == sample.generality[0].prompt == (filled or prompt)
    assert loaded.fallbacks.get(FILLED, 0) == (2 if filled else 0)


def test_an_open_place_that_nothing_fills_is_left_out_and_counted(tmp_path: Path) -> None:
    rows = [
        counterfact_row(),
        counterfact_row(prompt="{} speaks", subject=""),
        counterfact_row(locality_prompt="The mother tongue of {} is"),
    ]
    write(tmp_path, "counterfact", "test", rows)
    loaded = get_dataset("cf").load("test", tmp_path)
    assert [sample.id for sample in loaded.samples] == ["counterfact/test/0", "counterfact/test/2"]
    assert [len(sample.locality) for sample in loaded.samples] == [1, 0]
    assert loaded.skipped == {UNFILLED: 1, UNFILLED_PROBE: 1}
