from __future__ import annotations

import pytest

from bench.progress import track
from bench.worker import Finished

CELLS = [
    Finished(key="a", name="ft on zsre", edits=4, seconds=1.5, error=None, outcome="done"),
    Finished(
        key="b",
        name="rome on zsre",
        edits=0,
        seconds=0.5,
        error="RuntimeError: no",
        outcome="failed",
    ),
    Finished(key="c", name="mend on zsre", edits=0, seconds=0, error=None, outcome="found"),
]


def test_cells_pass_through_and_a_pipe_stays_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(CELLS, total=3)) == CELLS
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_terminal_shows_cells_rate_and_failures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes any stream for a terminal then
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    assert list(track(CELLS, total=3)) == CELLS
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "ft on zsre: 1.5 s" in captured.err
    assert "rome on zsre: failed: RuntimeError: no" in captured.err
    assert "mend on zsre: found" in captured.err
    assert "cells/min" in captured.err
