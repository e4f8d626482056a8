"""The benchmarks compare sides that do the same work, and report it; no time is judged here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.world.store import data_dir
from benchmarks import backbone, cells, choose_hparams, commands, growth, shapes
from benchmarks.__main__ import main
from benchmarks.measure import Line
from tests.datasets.example_rows import counterfact_row, write
from tests.support.tiny_files import save_tiny


def test_a_ratio_is_how_many_times_ours_goes_into_the_other() -> None:
    line = Line("benchmark", "subject", "figure", 0.5, plain=2.0)
    assert line.ratio == 4.0
    assert Line("benchmark", "subject", "figure", 0.5).ratio is None
    assert (line.at_least(4.0).met, line.at_least(4.1).met) == (True, False)
    assert (line.at_most(0.5, "0.5 s").met, line.at_most(0.4, "0.4 s").met) == (True, False)


@pytest.mark.slow
@pytest.mark.parametrize("editor", ["recipe", "grace", "rome", "t_patcher"])
def test_the_plain_implementation_has_the_same_scores(
    editor: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cells.json"
    assert main(["cells", "--editors", editor, "--edits", "2", "--out", str(out)]) == 0
    lines = json.loads(out.read_text("utf-8"))["lines"]
    assert [line["figure"] for line in lines] == ["s per edit", "s of probing"]
    assert {line["note"] for line in lines} == {"same scores"}
    assert all(line["ratio"] > 0 for line in lines)
    assert "same scores" in capsys.readouterr().out


def test_other_scores_are_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = iter([{cells.AVERAGE: 0.9}, {cells.AVERAGE: 0.9}, {cells.AVERAGE: 0.8}])
    monkeypatch.setattr(cells, "_scores", lambda _: next(scores))
    assert main(["cells", "--editors", "recipe", "--edits", "1"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith("error: recipe: ")


def test_only_a_collapsed_model_may_magnify_rounding() -> None:
    collapsed = {cells.AVERAGE: 0.01}
    assert cells.agreement("mend", [{cells.AVERAGE: 0.02}], collapsed).startswith("collapsed")
    for ours, theirs in ((0.05, 0.01), (0.51, 0.5)):
        with pytest.raises(cells.DifferentScoresError, match="mend"):
            cells.agreement("mend", [{cells.AVERAGE: ours}], {cells.AVERAGE: theirs})


def test_a_model_of_ones_own_is_timed_in_cpu_seconds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(backbone, "ASKED", 2)
    out, place = tmp_path / "cells.json", ["--backbone", "mini-llama"]
    assert main(["cells", *place]) == 2
    place += ["--data-dir", str(data_dir(0)), "--editors", "rome,recipe", "--out", str(out)]
    assert main(["cells", *place]) == 0
    lines = json.loads(out.read_text("utf-8"))["lines"]
    assert {line["subject"] for line in lines} == {"rome"}  # RECIPE has weights of its own
    assert [line["figure"].split(",")[0] for line in lines] == [
        "CPU s per edit", *["CPU s of 6 questions"] * 2,
    ]  # fmt: skip
    assert all(line["ours"] > 0 for line in lines)


def test_starting_is_measured_with_commands_that_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "REPEATS", 1)
    lines = list(commands.startup())
    assert [line.subject.split()[-1] for line in lines] == ["bench'", "list", "--reference"]
    assert all(line.ours > 0 for line in lines)


def test_a_repository_grows_and_is_measured_at_each_size(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("REPEATS", 2), ("SEARCHES", 2), ("BATCH", 2), ("REAL", 4)):
        monkeypatch.setattr(growth, name, value)
    monkeypatch.setattr(growth, "INFERENCE_AFTER", 8)
    lines = list(growth.growth((1, 8)))
    assert {line.subject for line in lines} >= {"recipe, 1 stored", "recipe, 8 stored"}
    figures = {line.figure for line in lines}
    assert {"s to store a row, mean", "s per edit", "s per query, alone"} <= figures
    assert "inference over the unedited model's" in figures
    assert all(line.ours > 0 for line in lines)


def test_real_shapes_are_timed_without_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in (("REAL", 1), ("BATCH", 2), ("QUERIES", 1)):
        monkeypatch.setattr(shapes, name, value)
    out = tmp_path / "shapes.json"
    small = ["--backbone", "mini-gpt2", "--device", "cpu", "--dtype", "float32", "--stored", "4"]
    assert shapes.main([*small, "--editors", "ft,grace", "--out", str(out)]) == 0
    lines = json.loads(out.read_text("utf-8"))["lines"]
    subjects = {line["subject"] for line in lines}
    assert {"unedited", "ft, 1 edits", "grace, 1 edits", "grace, 4 edits"} <= subjects
    assert {line["ours"] > 0 for line in lines} == {True}


def test_hyper_parameters_are_chosen_and_finished_trials_are_not_run_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(choose_hparams, "SAMPLES", {1: 1})
    monkeypatch.setattr(choose_hparams, "DATASETS", ("zsre",))
    space = {"ft": {"layer": (3,), "lr": (1e-3, 1e-9)}}
    monkeypatch.setattr(choose_hparams, "search_space", lambda _: space)
    out = tmp_path / "trials.json"
    assert choose_hparams.main(["--editors", "ft", "--out", str(out)]) == 0
    record = json.loads(out.read_text("utf-8"))
    assert [trial["changes"]["lr"] for trial in record["trials"]] == [1e-3, 1e-9]
    assert record["chosen"]["ft"] == {"layer": 3, "lr": 1e-3}
    capsys.readouterr()
    assert choose_hparams.main(["--editors", "ft", "--out", str(out)]) == 0
    (line,) = (text for text in capsys.readouterr().err.splitlines() if "ft {" in text)
    assert line.startswith("chosen: ")


def test_a_real_model_is_searched_on_real_training_edits_with_equal_numbers_of_trials(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(choose_hparams, "REAL_SAMPLES", {1: 1})
    monkeypatch.setattr(choose_hparams, "DATASETS", ("counterfact",))
    backbone = save_tiny("llama", tmp_path / "mine")
    data = tmp_path / "data"
    data.mkdir()
    write(data, "counterfact", "train", [counterfact_row(target_new=f"T{i}") for i in range(4)])
    out = tmp_path / "trials.json"
    common = ["--backbone", str(backbone), "--editors", "ft,grace", "--out", str(out)]
    with pytest.raises(ValueError, match="mine is no model of the embedded world"):
        choose_hparams.main(common)
    assert choose_hparams.main([*common, "--data-dir", str(data), "--trials", "2"]) == 0
    record = json.loads(out.read_text("utf-8"))
    assert record["trials_of_each_editor"] == 2
    assert [trial["editor"] for trial in record["trials"]] == ["ft", "ft", "grace", "grace"]
    assert record["subject"]["backbone"] == "mine"
    assert set(record["chosen"]) == {"ft", "grace"}
    space = choose_hparams.wide_space(30)
    combinations = [len(list(choose_hparams._combinations(own))) for own in space.values()]
    assert min(combinations) >= 8
