"""The benchmarks compare sides that do the same work, and report it; no time is judged here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import cells, commands
from benchmarks.__main__ import main
from benchmarks.measure import Line


def test_a_ratio_is_how_many_times_ours_goes_into_the_other() -> None:
    line = Line("benchmark", "subject", "figure", 0.5, plain=2.0)
    assert line.ratio == 4.0
    assert Line("benchmark", "subject", "figure", 0.5).ratio is None
    assert (line.at_least(4.0).met, line.at_least(4.1).met) == (True, False)
    assert (line.at_most(0.5, "0.5 s").met, line.at_most(0.4, "0.4 s").met) == (True, False)


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


def test_starting_is_measured_with_commands_that_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "REPEATS", 1)
    lines = list(commands.startup())
    assert [line.subject.split()[-1] for line in lines] == ["bench'", "list", "--reference"]
    assert all(line.ours > 0 for line in lines)
