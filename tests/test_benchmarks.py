"""The benchmarks compare sides that do the same work, and say so; no time is judged here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import cells, startup
from benchmarks.__main__ import main
from benchmarks.lines import Line, at_least, at_most

LINE = Line(benchmark="b", subject="s", figure="f", ours=0.5, plain=2.0)


def test_a_ratio_says_how_many_times_ours_goes_into_the_other() -> None:
    assert LINE.ratio == 4.0
    assert Line(benchmark="b", subject="s", figure="f", ours=0.5).ratio is None
    assert at_least(LINE, 4.0).met
    assert not at_least(LINE, 4.1).met
    assert at_most(LINE, 0.5, "0.5 s").met
    assert not at_most(LINE, 0.4, "0.4 s").met


@pytest.mark.parametrize("editor", ["recipe", "grace", "rome", "t_patcher"])
def test_the_plain_way_of_working_scores_the_same(
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
    assert "error: recipe: wanted the scores of the plain way" in captured.err


def test_only_a_collapsed_model_may_magnify_rounding() -> None:
    collapsed = {cells.AVERAGE: 0.01}
    assert cells.agreement("mend", [{cells.AVERAGE: 0.02}], collapsed).startswith("collapsed")
    for ours, theirs in ((0.05, 0.01), (0.51, 0.5)):
        with pytest.raises(cells.DifferentScoresError, match=r"mend: wanted the scores"):
            cells.agreement("mend", [{cells.AVERAGE: ours}], {cells.AVERAGE: theirs})


def test_what_starting_costs_is_measured_of_commands_that_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(startup, "REPEATS", 1)
    lines = list(startup.startup())
    assert [line.subject.split()[-1] for line in lines] == ["bench'", "list", "--reference"]
    assert all(line.ours > 0 for line in lines)
