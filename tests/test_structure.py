"""The layout stays as it is meant to be; `python -m benchmarks structure` prints all figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import structure
from benchmarks.__main__ import main
from benchmarks.structure import Measure, counted, private_words, short_files, traced


@pytest.mark.parametrize("measure", counted(), ids=lambda measure: measure.name)
def test_counted_figures_are_within_their_limits(measure: Measure) -> None:
    assert measure.value <= measure.limit


def test_the_command_prints_every_figure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(structure, "traced", list)
    assert main(["structure"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(counted())
    assert not any(line.startswith("!") for line in printed)


@pytest.mark.slow
def test_one_cell_enters_few_files_by_a_short_path() -> None:
    for measure in traced():
        assert measure.value <= measure.limit, measure.name


def test_the_words_and_files_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bench").mkdir()
    text = '"""Cells kept behind others."""\n\n\ndef run(found: int) -> int:\n    return found\n'
    (tmp_path / "bench" / "cell.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(structure, "ROOT", tmp_path)
    assert [word for _, _, word in private_words()] == ["kept", "behind", "found"]
    assert short_files() == ["bench/cell.py"]
