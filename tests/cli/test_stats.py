"""The `stats` command, and that a run uses its results."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli.main import main
from bench.models.key_statistics import Corpus
from tests.datasets.example_rows import counterfact_row, write
from tests.support.tiny_files import save_tiny


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Commands write where they are, and set variables that libraries read when imported."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(tmp_path / "cache"))
    for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "error")
    return tmp_path


@pytest.fixture
def arguments(environment: Path) -> list[str]:
    texts = environment / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("The sky is blue.\nThe sea is wide.\n" * 20, encoding="utf-8")
    backbone = save_tiny("gpt2", environment / "tiny")
    return ["--backbone", str(backbone), "--corpus", "texts", "--documents", "30"]


def test_it_prints_its_counts_and_computes_once(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stats", *arguments, "--layers", "2,0"]) == 0
    shown = capsys.readouterr()
    assert [line[:23] for line in shown.out.splitlines()] == [
        f"layer {layer}: 30 documents, " for layer in (0, 2)
    ]
    assert shown.err == ""
    monkeypatch.setattr(Corpus, "texts", lambda _: pytest.fail("read again"))
    assert main(["stats", *arguments, "--layers", "0,2"]) == 0
    assert capsys.readouterr().out == shown.out


def test_a_run_reads_the_statistics_of_the_editors_own_layers(
    arguments: list[str], environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(environment / "data", "counterfact", "test", [counterfact_row()] * 2)
    assert main(["stats", *arguments]) == 0
    monkeypatch.setattr(Corpus, "texts", lambda _: pytest.fail("read again"))
    run = ["run", "--editors", "rome", "--datasets", "cf", "--edits", "1", "--limit", "1"]
    run += ["--data-dir", "data", "--jobs", "1", "--metrics", "teacher_forced", "--out", "out"]
    assert main([*run, *arguments]) == 0


@pytest.mark.parametrize("layers", ["3", "-1", "one", ",", "0,3"])
def test_layers_that_are_not_there(
    arguments: list[str], layers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stats", *arguments, f"--layers={layers}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "from 0 to 2" in line


def test_the_paper_preset_needs_a_backbone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", "--preset", "paper", "--device", "cpu"]) == 2
    assert "--backbone" in capsys.readouterr().err
