"""The layout stays as it is meant to be; `python -m benchmarks structure` prints all figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import structure
from benchmarks.__main__ import main
from benchmarks.structure import private_words, short_files, traced


def test_the_command_prints_every_figure_and_each_is_within_its_limit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(structure, "traced", list)
    code, printed = main(["structure"]), capsys.readouterr().out.splitlines()
    assert [line for line in printed if line.startswith("!")] == []
    assert (code, len(printed)) == (0, 10)


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
