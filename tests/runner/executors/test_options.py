"""The options that choose an executor, through the command line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.cli.main import main

RUN = ("run", "--table", "1", "--editors", "ft", "--datasets", "zsre", "--edits", "1")

BAD = [
    (["--executor", "slrm"], "Unknown executor 'slrm'. Did you mean 'slurm'?"),
    (["--ray-address", "auto"], "--ray-address goes with --executor ray, got --executor local."),
    (
        ["--executor", "ray", "--slurm-time", "9"],
        "--slurm-time goes with --executor slurm, got --executor ray.",
    ),
    (["--detach"], "--detach goes with --executor slurm, got --executor local."),
    (["--executor", "slurm", "--jobs", "2"], "with slurm: --slurm-workers."),
    (["--executor", "ray", "--gpus-per-cell", "1.5"], "expected a fraction of one GPU or a whole"),
    (["--gpus-per-cell", "0"], "expected a fraction of one GPU or a whole number of them"),
    (["--slurm-workers", "0"], "--slurm-workers: expected a whole number of at least 1, got 0."),
    (["--slurm-option", "account"], "--slurm-option takes NAME=VALUE, got 'account'."),
    (["--table", "3", "--executor", "ray"], "would disturb the times that this table measures"),
]


@pytest.mark.parametrize(("options", "sentence"), BAD)
def test_bad_options_are_one_sentence_and_leave_nothing(
    options: list[str], sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert code([*RUN, *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("extra", "library"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_library_names_its_extra(
    extra: str, library: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.runner.executors.base.find_spec", lambda _: None)
    assert code([*RUN, "--executor", extra]) == 2
    assert capsys.readouterr().err == (
        f"error: --executor {extra} needs {library}, which is not installed: "
        f"pip install '.[{extra}]' adds it.\n"
    )


def test_without_slurm_nothing_runs_here_instead(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code([*RUN, "--limit", "1", "--executor", "slurm", "--out", "out"]) == 2
    assert "srun" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def code(arguments: list[str]) -> int:
    """What the process ends with; argparse exits by itself."""
    with pytest.raises(SystemExit) as end:
        sys.exit(main(arguments))
    assert isinstance(end.value.code, int)
    return end.value.code
