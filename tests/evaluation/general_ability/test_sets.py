from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bench.evaluation.general_ability.sets import Source, chosen, holds_a_set, load_sets
from tests.evaluation.general_ability.tiny_items import (
    anli_row,
    csqa_row,
    mmlu_row,
    squad_row,
    write_rows,
    write_sets,
)


def test_rows_become_items(tmp_path: Path) -> None:
    sets = load_sets(write_sets(tmp_path))
    (csqa,), (mmlu,), (anli,) = (sets[key].items for key in ("csqa", "mmlu", "anli"))
    assert csqa.prompt == (
        "Select the correct answer.\nWhere is the door?\n(A) bank\n(B) library\n(C) store\n"
        "(D) mall\n(E) york\nAnswer: ("
    )
    assert (csqa.options, csqa.answer) == (("A", "B", "C", "D", "E"), 1)
    assert (mmlu.options, mmlu.answer, mmlu.group) == (("A", "B", "C", "D"), 2, "sums")
    assert anli.prompt.endswith("entailment, neutral, or contradiction:")
    assert anli.options == (" entailment", " neutral", " contradiction")
    assert (anli.answer, anli.group) == (0, "r2")
    answered, unanswered = sets["squad2"].items
    assert answered.golds == ("The sea", "sea")
    assert (answered.target, answered.group) == ("The sea", "answerable")
    assert (unanswered.target, unanswered.group) == ("N/A", "unanswerable")


def test_equal_contents_have_equal_digests_in_any_form(tmp_path: Path) -> None:
    ours = load_sets(write_sets(tmp_path / "a"))
    other = tmp_path / "b"
    pairs = zip(*csqa_row()["choices"].values(), strict=True)
    choices = [{"label": label, "text": text} for label, text in pairs]
    stem = {"stem": csqa_row()["question"], "choices": choices}
    write_rows(other / "commonsenseqa" / "dev_rand_split.jsonl", [csqa_row(question=stem)])
    csv = other / "mmlu" / "csv" / "test" / "sums_test.csv"
    csv.parent.mkdir(parents=True)
    csv.write_text("1 + 1?,0,1,2,3,C\n", encoding="utf-8")  # the authors' form: no head, letters
    write_rows(other / "anli" / "test.jsonl", [anli_row(label=0, tag="r2")])
    rows = [squad_row(id=1, source="x"), squad_row(answers={"text": []})]
    write_rows(other / "squad2" / "squad_v2_validation_partial.jsonl", rows)
    theirs = load_sets(Source(kind="files", directory=other, name="b"))
    for key, loaded in ours.items():
        assert theirs[key].digest == loaded.digest, key
    csv.write_text("question,choice0,choice1,choice2,choice3,answer\n1 + 1?,0,1,2,3,1\n")
    changed = load_sets(Source(kind="files", directory=other, name="b"))
    assert changed["mmlu"].digest != ours["mmlu"].digest
    assert changed["csqa"].digest == ours["csqa"].digest


def test_parquet_files_in_the_hubs_layout(tmp_path: Path) -> None:
    from datasets import Dataset

    ours = load_sets(write_sets(tmp_path / "a"))
    hub = tmp_path / "b"
    parts: dict[str, dict[str, Any]] = {
        "tau/commonsense_qa/data/validation-00000-of-00001.parquet": csqa_row(),
        "cais/mmlu/all/test-00000-of-00001.parquet": mmlu_row(),
        "facebook/anli/plain_text/test_r2-00000-of-00001.parquet": {
            "premise": "It rains.", "hypothesis": "It is wet.", "label": 0,
        },
        "rajpurkar/squad_v2/squad_v2/validation-00000-of-00001.parquet": squad_row(),
    }  # fmt: skip
    for name, row in parts.items():
        (hub / name).parent.mkdir(parents=True)
        Dataset.from_list([row]).to_parquet(hub / name)
    theirs = load_sets(Source(kind="files", directory=hub, name="b"))
    for key in ("csqa", "mmlu", "anli"):
        assert theirs[key].digest == ours[key].digest, key
    assert theirs["squad2"].items == ours["squad2"].items[:1]


@pytest.mark.parametrize(
    ("name", "row", "sentence"),
    [
        ("csqa", csqa_row(answerKey=""), "csqa_validation.jsonl, row 0, field 'answerKey': wanted"),
        ("csqa", csqa_row(choices={"text": ["a"]}), "field 'choices': wanted 5 options, got 1"),
        ("csqa", csqa_row(choices=[]), "field 'choices': wanted an object, got a list of 0"),
        ("mmlu", mmlu_row(answer=4), "wanted one of A, B, C, D, or a number from 0 to 3"),
        ("mmlu", mmlu_row(choices="abcd"), "field 'choices': wanted a list of strings"),
        ("mmlu", mmlu_row(answer=True), "mmlu_test.jsonl, row 0, field 'answer'"),
        ("anli", anli_row(label="maybe"), "field 'label': wanted one of entailment, neutral"),
        ("anli", anli_row(tag="dev"), "field 'tag': wanted the name of a round"),
        ("anli", {"premise": "x"}, "field 'hypothesis': wanted a string, got no such field"),
        ("squad", squad_row(answers={"text": [" "]}), "field 'answers': wanted answers that are"),
        ("squad", squad_row(context=None), "field 'context': wanted a string, got null"),
        ("squad", [], "squad_v2_validation.jsonl: wanted rows, got an empty list"),
    ],
)
def test_malformed_rows_name_file_row_and_field(
    tmp_path: Path, name: str, row: Any, sentence: str
) -> None:
    source = write_sets(tmp_path, **{name: [row]})
    with pytest.raises(ValueError, match=re.escape(sentence)) as error:
        load_sets(source)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_malformed_files(tmp_path: Path) -> None:
    source = write_sets(tmp_path)
    (tmp_path / "anli_test.jsonl").write_text('{"premise": ')
    with pytest.raises(ValueError, match=r"anli_test\.jsonl, row 0 is not valid JSON"):
        load_sets(source)
    (tmp_path / "anli_test.jsonl").write_text("\n")
    with pytest.raises(ValueError, match=r"anli_test\.jsonl: wanted rows, got an empty file"):
        load_sets(source)
    (tmp_path / "anli_test.jsonl").unlink()
    with pytest.raises(FileNotFoundError, match=re.escape("No ANLI in")):
        load_sets(source)
    for folder in ("a", "b"):
        write_rows(tmp_path / folder / "anli_test.jsonl", [anli_row()])
    with pytest.raises(ValueError, match=r"more than once: a/anli_test\.jsonl, b/anli"):
        load_sets(source)
    (tmp_path / "test").mkdir()
    table = (tmp_path / "mmlu_test.jsonl").rename(tmp_path / "test" / "sums_test.csv")
    table.write_text('1?,"a, b",c,d,e,A\n2?,a,b,A\n')
    with pytest.raises(ValueError, match=r"sums_test.csv, row 1: wanted 6 columns .*, got 4"):
        load_sets(source)


def test_a_limit_draws_the_same_questions_again_in_their_order(tmp_path: Path) -> None:
    source = write_sets(tmp_path, mmlu=[mmlu_row(question=str(n)) for n in range(40)])
    loaded = load_sets(source)["mmlu"]
    some = chosen(loaded, 10)
    assert some == chosen(loaded, 10)
    indices = [index for index, _ in some]
    assert indices == sorted(set(indices))
    assert indices != list(range(10))
    assert all(loaded.items[index] is item for index, item in some)
    assert chosen(loaded, 40) == chosen(loaded, None) == list(enumerate(loaded.items))


def test_a_directory_with_a_set_is_known(tmp_path: Path) -> None:
    assert not holds_a_set(tmp_path)
    write_rows(tmp_path / "deep" / "anli_test.jsonl", [anli_row()])
    assert holds_a_set(tmp_path)


def test_the_published_sets_are_read_whole(data_dir: Path) -> None:
    sets = load_sets(Source(kind="files", directory=data_dir, name="real"))
    assert len(sets["csqa"].items) == 1_221
    assert len(sets["mmlu"].items) == 14_042
    assert len({item.group for item in sets["mmlu"].items}) == 57
    assert len(sets["anli"].items) == 3_200
    assert {item.group for item in sets["anli"].items} == {"r1", "r2", "r3"}
    assert {item.group for item in sets["squad2"].items} == {"answerable", "unanswerable"}
