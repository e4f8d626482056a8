"""Files of a user's own facts: JSON, JSON lines and CSV in one form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import datasets
from bench.cli.main import main
from bench.datasets import get_dataset, named_files, run_files
from bench.evaluation.probing import items_of
from editors.base import EditSample, Probe
from editors.plugins import OwnCodeError

EXAMPLE = Path(__file__).parents[2] / "examples" / "facts.json"
ROW = {"prompt": "The capital of Narnia is", "target": "Cair Paravel"}


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    datasets._named.clear()


def written(path: Path, *rows: dict[str, Any]) -> Path:
    """The rows as a list, or a row a line."""
    lines = path.suffix == ".jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) if lines else json.dumps(rows), "utf-8")
    return path


def samples(path: Path) -> tuple[EditSample, ...]:
    return get_dataset(str(path)).load("test", Path("elsewhere")).samples


def test_the_example_has_every_field() -> None:
    first, second = samples(EXAMPLE)
    assert first.id == "facts/test/capital"
    assert second.id == "facts/test/1"
    assert [probe.prompt for probe in first.generality] == [
        "Narnia's capital is",
        "The kings of Narnia rule in",
    ]
    rome = Probe(kind="unrelated", prompt="The capital of Italy is", target="Rome")
    assert first.locality == (rome,)
    assert second.locality == ()
    assert [item.aliases for item in items_of(second)] == [("Traixport",)] * 2


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_prompt_and_target_are_enough(name: str, tmp_path: Path) -> None:
    empty = {"subject": None, "rephrase": None, "locality": None, "aliases": None, "id": None}
    plain, full = samples(written(tmp_path / name, ROW, ROW | empty))
    for sample in (plain, full):
        assert (sample.request.prompt, sample.request.target) == tuple(ROW.values())
        assert (sample.request.subject, sample.generality, sample.locality) == ("", (), ())


def test_a_table_has_further_texts_in_columns_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "my facts.csv"
    path.write_text(
        "\ufeffprompt,target,subject,rephrase,rephrase_2,locality_prompt,locality_target\r\n"
        'The capital of Narnia is,"Cair, Paravel",Narnia,A?,B?,The capital of Italy is,Rome\r\n'
        "Who rules?,Aslan,,,,,\r\n",
        "utf-8",
    )
    first, second = samples(path)
    assert first.request.target == "Cair, Paravel"
    assert [probe.prompt for probe in first.generality] == ["A?", "B?"]
    assert [probe.target for probe in first.locality] == ["Rome"]
    assert (second.generality, second.locality) == ((), ())
    assert get_dataset(str(path)).key == "my_facts"


@pytest.mark.parametrize(
    ("row", "named"),
    [
        (ROW | {"rephrases": []}, "no field 'rephrases' is known; wanted: id, prompt, target"),
        (ROW | {"rephrase": 3}, "field 'rephrase': wanted a string, got the number 3"),
        (ROW | {"locality": "x"}, "field 'locality': wanted a list of objects"),
        ({"prompt": "x"}, "field 'target': wanted a string, got no such field"),
        (ROW | {"locality_prompt": "x"}, "as many locality_prompt as locality_target, got 1 and 0"),
    ],
)
def test_a_wrong_field_is_named_with_its_row(
    row: dict[str, Any], named: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.json", ROW, row)
    with pytest.raises(ValueError, match="row 1") as error:
        samples(path)
    assert named in str(error.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("prompt,target\n", "wanted rows below a line of column names"),
        ("prompt,prompt\na,b\n", "wanted each column once"),
        ("prompt,target\na\n", r"row 0: wanted 2 columns \(prompt, target\)"),
        ("prompt,target\na,b,c\n", r"row 0: wanted 2 columns \(prompt, target\)"),
    ],
)
def test_a_table_that_cannot_be_read(text: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=named):
        samples(path)


def test_a_row_that_cannot_be_used_is_named_and_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", ROW, ROW | {"target": " "}, ROW | {"prompt": None})
    loaded = get_dataset(str(path)).load("test", tmp_path)
    assert loaded.notes() == (
        "skipped: 1 x row with an empty target (row 1)",
        "skipped: 1 x row with an empty prompt (row 2)",
        "fallback: 1 x subject not in the prompt",
    )


def test_a_name_that_is_taken_and_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OwnCodeError, match="'zsre'"):
        get_dataset(str(written(tmp_path / "zsre.json", ROW)))
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        get_dataset(str(tmp_path / "none.csv"))


def test_a_worker_reads_it_again_and_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", ROW)
    samples(path)
    files = named_files()
    datasets._named.clear()
    run_files(files)
    assert len(samples(path)) == 1
    written(path, ROW, ROW)
    with pytest.raises(ValueError, match="has changed since the run was planned"):
        run_files(files)


def test_it_is_run_and_shown_as_any_data_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "results"), "--jobs", "1", "--metrics", "teacher_forced"]
    assert main(["run", "--datasets", str(EXAMPLE), "--editors", "ft", "--edits", "1", *out]) == 0
    printed = capsys.readouterr().out
    assert "facts (local file" in printed
    assert "Port-K" in printed
    train = ["train", "--editor", "mend", "--datasets", str(EXAMPLE), "--out", str(tmp_path / "w")]
    assert main(train) == 2
    assert "no train split" in capsys.readouterr().err


def test_the_unedited_model_is_asked_for_the_other_facts(tmp_path: Path) -> None:
    hops = [{"prompt": "Where does Drirel Guxsen live?", "target": "Mount Trundport"}]
    question = {"prompt": "Who lives there too?", "target": "Lumo Vand"}
    unknown = question | {"hops": [*hops, {"prompt": "Who is Ann?", "target": "Bern Lox"}]}
    questions = [question | {"hops": hops}, unknown, question]
    path = written(tmp_path / "facts.json", ROW | {"portability": questions})
    out = ["--editors", "ft", "--edits", "1", "--metrics", "teacher_forced", "--jobs", "1"]
    assert main(["run", "--datasets", str(path), *out, "--out", str(tmp_path / "results")]) == 0
    (record,) = (tmp_path / "results").glob("*.json")
    items = json.loads(record.read_text("utf-8"))["rows"][0]["items"]
    assert [item.get("known") for item in items] == [None, True, False, None]
    scores = json.loads(record.read_text("utf-8"))["summary"]["scores"]["after"]
    assert scores["teacher_forced"]["token_accuracy"].keys() == {
        "reliability", "portability", "portability_known",
    }  # fmt: skip
