"""`run --table 2` on a shipped miniature backbone, with few edits and questions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from bench.core.config import RunConfig
from bench.evaluation.general_ability.sets import Source
from bench.runner.kinds import ability_source
from bench.world.store import data_dir
from tests.evaluation.general_ability.tiny_items import write_sets

RUN = [
    *("run", "--table", "2", "--editors", "ft,grace", "--edits", "2", "--task-limit", "6"),
    *("--jobs", "1", "--out", "out"),
]
TABLES = ["tables", *RUN[1:9], "--out", "out"]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Commands write where they are, and set variables that libraries read when imported."""
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as context:
        for name in ("HF_HUB_OFFLINE", "TQDM_DISABLE"):
            context.setenv(name, "1")
        yield


def records() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(Path("out").glob("*.json"))]


def test_run_prints_and_writes_then_only_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(RUN) == 0
    first = capsys.readouterr()
    assert "Harness ours, scoring paper" in first.out
    assert "after 2 sequential edits of ZSRE (embedded world 0)" in first.out
    assert "(a limit of 6 each)" in first.out
    for name in ("unedited", "FT", "GRACE"):
        assert name in first.out
    assert sorted(p.name for p in Path("out/tables").iterdir()) == [
        "table2.csv",
        "table2.md",
        "table2.tex",
    ]
    assert [r["status"]["state"] for r in records()] == ["complete"] * 3
    edited = {r["cell"]["edits"]["editor"] if r["cell"]["edits"] else None for r in records()}
    assert edited == {None, "ft", "grace"}

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("bench.evaluation.context.load", refuse)
    assert main(RUN) == 0
    assert capsys.readouterr().out == first.out
    assert main(TABLES) == 0
    assert capsys.readouterr().out == first.out


def test_a_record_says_everything() -> None:
    from bench.evaluation.general_ability.scoring import summarise

    assert main([*RUN, "--editors", "grace"]) == 0
    record = next(r for r in records() if r["cell"]["edits"])
    assert list(record) == [
        *("schema", "key", "digest", "protocol", "status", "cell", "editor", "provenance", "data"),
        *("summary", "health", "rows"),
    ]
    assert record["cell"]["kind"] == "ability"
    assert record["cell"]["task_limit"] == 6
    assert set(record["cell"]["tasks"]) == {"csqa", "mmlu", "anli", "squad2"}
    assert len(record["rows"]) == 4 * 6
    reliability = record["summary"].pop("reliability")
    assert 0 <= reliability <= 1
    assert summarise(record["rows"]) == record["summary"]
    assert record["data"]["questions"]["mmlu"] == 500
    assert set(record["provenance"]["seconds"]) == {"load", "edit", "ask"}
    unedited = next(r for r in records() if not r["cell"]["edits"])
    assert unedited["summary"]["reliability"] is None


def test_seeds_share_the_unedited_model(capsys: pytest.CaptureFixture[str]) -> None:
    run = [*RUN, "--editors", "grace", "--edits", "1"]
    assert main([*run, "--n-seeds", "2"]) == 0
    assert "over up to 2 seeds (0, 1)" in capsys.readouterr().out
    assert len(records()) == 3
    assert main([*run, "--datasets", "cf"]) == 0
    assert len(records()) == 4  # the unedited model knows no edit set


def test_lm_eval_scoring_is_another_cell(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("lm_eval")
    assert main([*RUN, "--editors", "grace"]) == 0
    capsys.readouterr()
    assert main([*RUN, "--editors", "grace", "--scoring", "lm-eval"]) == 0
    assert "Harness lm-eval" in capsys.readouterr().out
    assert len(records()) == 4
    answers = {
        r["cell"]["scoring"]: [(row["task"], row["prediction"]) for row in r["rows"]]
        for r in records()
        if r["cell"]["edits"] is None
    }
    assert answers["paper"] == answers["lm-eval"]


def test_real_forms_through_a_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sets(tmp_path / "sets")
    arguments = [*RUN, "--editors", "grace", "--ability-dir", "sets"]
    assert main(arguments) == 0
    assert "questions of local files: CSQA 1, MMLU 1, ANLI 1, SQUAD-2 2" in capsys.readouterr().out
    (tmp_path / "sets" / "anli_test.jsonl").write_text('{"premise": 1}\n')
    assert main(arguments) == 2
    assert "row 0, field 'premise': wanted a string" in capsys.readouterr().err


def test_dry_run_lists_the_unedited_model_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--table", "2", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mini-llama  unedited"
    assert lines[1] == "mini-llama  ft  zsre  edits 1,000  seed 0"
    assert lines[-1] == "12 cells"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([*RUN, "--scoring", "papr"], "Unknown scoring 'papr'. Did you mean 'paper'?"),
        ([*RUN, "--task-limit", "0"], "expected a whole number of at least 1"),
        ([*RUN, "--limit", "5"], "Table 2 takes no --limit: it makes n edits once"),
        ([*RUN, "--ability-dir", "missing"], "missing is not a directory"),
        (["run", "--scoring", "lm-eval"], "Table 1 takes no --scoring"),
        (["run", "--table", "5", "--task-limit", "5"], "Table 5 takes no --task-limit"),
        ([*TABLES, "--by-type"], "Table 2 takes no --by-type"),
        (TABLES, "No record in out belongs to this selection of table 2"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as end:
        raise SystemExit(main(arguments))
    assert end.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_where_questions_come_from(tmp_path: Path) -> None:
    write_sets(tmp_path / "sets")
    (tmp_path / "edits").mkdir()
    sets, edits = tmp_path / "sets", tmp_path / "edits"
    files = Source(kind="files", directory=sets, name="local files")
    embedded = Source(kind="embedded", directory=data_dir(), name="embedded world 0")
    assert ability_source(RunConfig()) == embedded
    assert ability_source(RunConfig(ability_dir=sets)) == files
    assert ability_source(RunConfig(data_dir=sets)) == files
    real = RunConfig(data_dir=edits)  # no generated questions after real edits
    assert ability_source(real).directory == edits
    assert ability_source(RunConfig(preset="paper", data_dir=edits)).kind == "hub"
    assert ability_source(RunConfig(preset="paper", data_dir=sets)) == files
    assert ability_source(RunConfig(preset="paper", ability_dir=sets)) == files
