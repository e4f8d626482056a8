"""What commands refuse: in one sentence, with an exit code, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli.main import main
from tests.cli.commands import (
    exit_code,
)
from tests.datasets.example_rows import write

BAD = [
    ("--editors", "ft,grce", "Unknown editor 'grce'. Did you mean 'grace'?"),
    ("--datasets", "zrse", "Unknown data set 'zrse'. Did you mean 'zsre'?"),
    ("--backbone", "mini-lama", "Unknown backbone 'mini-lama'. Did you mean 'mini-llama'?"),
    ("--backbone", "./nowhere", "No model directory at ./nowhere."),
    ("--preset", "papr", "Unknown preset 'papr'. Did you mean 'paper'?"),
    ("--metrics", "al", "Unknown metrics 'al'. Did you mean 'all'?"),
    ("--dtype", "float12", "Unknown dtype 'float12'"),
    ("--device", "gpu", "Unknown device 'gpu'. Available: cpu, cuda, cuda:N."),
    ("--table", "9", "Unknown table '9'."),
    ("--edits", "0", "--edits: expected a whole number of at least 1, got 0."),
    ("--edits", "ten", "--edits: expected a whole number, got 'ten'."),
    ("--edits", ",", "expected names separated by commas, got none"),
    ("--seeds", "1.5", "--seeds: expected a whole number, got '1.5'."),
    ("--limit", "1", "a limit of 1 for 2 edits"),
    ("--limit", "0", "--limit: expected a whole number of at least 1, got 0."),
    ("--jobs", "0", "--jobs: expected a whole number of at least 1, got 0."),
    ("--edits", "6", "got a limit of 4 for 6 edits"),
    ("--data-dir", "missing", "missing"),
    ("--hparam", "mode=easyedit", "Unknown editor 'mode'."),
    ("--hparam", "ft.lr", "--hparam takes EDITOR.NAME=VALUE or EDITOR=PRESET, got 'ft.lr'."),
    ("--hparam", "ft.=1", "--hparam takes EDITOR.NAME=VALUE or EDITOR=PRESET, got 'ft.=1'."),
    ("--hparam", "ft=gpt-5", "FT has no preset 'gpt-5'. Available: "),
    ("--hparam", "grce.eps=1", "Unknown editor 'grce'. Did you mean 'grace'?"),
    ("--hparam", "ft.lrr=1", "'lrr' for FtHparams. Did you mean 'lr'"),
    ("--index", "fais", "Unknown index 'fais'. Did you mean 'faiss'?"),
    ("--index", "faiss", "--hparam changes RECIPE, which is not among the editors"),
    ("--hparam", "malmen.seed=1", "--hparam changes MALMEN, which is not among the editors"),
]


@pytest.mark.parametrize(("option", "value", "sentence"), BAD)
def test_bad_values_are_one_sentence_and_leave_nothing(
    run_arguments: list[str],
    option: str,
    value: str,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    assert exit_code([*run_arguments, option, value]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_optional_package_that_is_missing_is_named(
    run_arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("editors.parts.recipe.hparams.find_spec", lambda _: None)
    assert main([*run_arguments, "--editors", "recipe", "--index", "faiss"]) == 2
    assert "pip install 'lifelong-edit-bench[faiss]'" in capsys.readouterr().err
    assert not Path("out").exists()


def test_more_edits_than_samples(
    run_arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*run_arguments, "--edits", "6", "--limit", "6"]) == 2
    assert "has 5 samples in" in capsys.readouterr().err
    assert not Path("out").exists()


def test_malformed_data(
    run_arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "bad", "zsre", "test", [])
    path.write_text('[{"src": ')
    assert main([*run_arguments, "--data-dir", str(path.parent)]) == 2
    assert str(path) in capsys.readouterr().err
    assert not Path("out").exists()


def test_unsupported_model_type(
    run_arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    assert main([*run_arguments, "--backbone", str(tmp_path / "bert")]) == 2
    assert "model_type 'bert', which has no architecture row" in capsys.readouterr().err
    assert not Path("out").exists()


def test_the_paper_preset_without_data(capsys: pytest.CaptureFixture[str], backbone: Path) -> None:
    arguments = ["run", "--preset", "paper", "--backbone", str(backbone), "--device", "cpu"]
    assert main(arguments) == 2
    assert "give their directory with --data-dir" in capsys.readouterr().err


def test_out_that_is_a_file(
    run_arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("mine")
    assert main(run_arguments) == 2
    assert "out" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["rum"], "Unknown command 'rum'. Did you mean 'run'?"),
        ([], "the following arguments are required: COMMAND"),
        (["run", "--editor-s", "ft"], "unrecognized arguments: --editor-s"),
        (["run", "--seeds", "0", "--n-seeds", "2"], "not allowed with argument"),
    ],
)
def test_bad_command_lines(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(arguments) == 2
    assert sentence in capsys.readouterr().err
