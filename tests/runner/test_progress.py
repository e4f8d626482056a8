"""Progress of cells: those that ended, the edits of those that run, the rates, the time left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.evaluation.checkpointing import Checkpoint, Checkpointer, EditCount
from bench.runner.executors.base import Finished
from bench.runner.observers import CellProgress, Display
from bench.store.results import ResultStore
from bench.store.running import Lease, Leases
from tests.core.test_progress import on_terminal
from tests.runner.executors.marking_jobs import MarkingJob, job


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def jobs(folder: Path, limit: int | None = 100, number: int = 4) -> list[MarkingJob]:
    cells = [job(folder, seed) for seed in range(number)]
    for cell in cells:
        object.__setattr__(cell, "cell", replace(cell.cell, limit=limit, n_edits=1))
    return cells


def ended(of: MarkingJob, edits: int, **how: object) -> Finished:
    facts = {"seconds": 1.5, "error": None, "outcome": "done"} | how
    return Finished(key=of.cell.key(), name="ft on zsre", edits=edits, **facts)  # type: ignore[arg-type]


def leased(folder: Path, of: MarkingJob, edits: int, earlier: int = 0) -> Lease:
    """A cell that is being computed, and has just shown that it lives."""
    lease = Leases(folder, every=3600.0).acquire(of.cell.key())
    assert lease is not None
    lease.report(lambda: EditCount(edits, earlier))
    lease._write()
    return lease


def following(folder: Path, number: int) -> tuple[Clock, Path, list[MarkingJob], CellProgress]:
    """A clock, the folder of leases, cells and their progress."""
    clock, store, cells = Clock(), ResultStore(folder), jobs(folder, number=number)
    return clock, store.leases, cells, CellProgress(cells, store, clock)


def test_a_running_cell_counts_by_its_edits(tmp_path: Path) -> None:
    clock, leases, (first, second, *_), progress = following(tmp_path, number=4)
    assert progress.now().in_words() == "0 of 4"
    clock.now = 60.0
    with leased(leases, first, 25), leased(leases, second, 50):
        now = progress.now()
        assert (now.done, now.edits, now.edits_total) == (0, 75, 400)
        assert now.share == pytest.approx(0.75 / 4)
        assert now.seconds_left == pytest.approx(3.25 / 0.75 * 60)
        assert now.in_words() == (
            "0 of 4, 75 of 400 edits, 0.8 cells/min, 1.2 edits/s, about 4 min left"
        )
    progress.ended(ended(first, 100))
    now = progress.now()
    assert (now.done, now.edits, now.share) == (1, 100, 0.25)
    assert now.seconds_left == pytest.approx(180.0)


def test_edits_of_an_earlier_run_make_no_rate(tmp_path: Path) -> None:
    clock, leases, cells, progress = following(tmp_path, number=1)
    clock.now = 10.0
    with leased(leases, cells[0], 60, earlier=60):
        now = progress.now()
        assert (now.edits, now.rate, now.edits_rate, now.seconds_left) == (60, None, None, None)
        assert now.in_words() == "0 of 1, 60 of 100 edits"
    with leased(leases, cells[0], 80, earlier=60):
        now = progress.now()
        assert now.edits_rate == pytest.approx(2.0)
        assert now.seconds_left == pytest.approx(10.0)
        assert now.in_words() == (
            "0 of 1, 80 of 100 edits, 1.2 cells/min, 2.0 edits/s, about 10 s left"
        )
    clock.now = 400.0
    with leased(leases, cells[0], 100, earlier=60):  # after all edits no time left is shown
        now = progress.now()
        assert now.in_words() == "0 of 1, 100 of 100 edits, 0.1 cells/min, 0.1 edits/s"
        assert now.seconds_left is None


def test_cells_of_others_and_of_no_known_size(tmp_path: Path) -> None:
    store, clock = ResultStore(tmp_path), Clock()
    leases, (first, second, stranger) = store.leases, jobs(tmp_path, limit=None, number=3)
    progress = CellProgress([first, second], store, clock)
    clock.now = 10.0
    with leased(leases, first, 7), leased(leases, stranger, 9):
        now = progress.now()
        assert (now.edits, now.edits_total, now.share, now.seconds_left) == (7, None, 0.0, None)
        assert now.in_words() == "0 of 2, 7 edits, 0.7 edits/s"
    progress.ended(ended(first, 0, outcome="found"))  # another run ended it
    assert progress.now().edits == 7


def test_what_others_had_done_before_makes_no_rate(tmp_path: Path) -> None:
    clock, leases, cells, _ = following(tmp_path, number=2)
    with leased(leases, cells[0], 90):
        progress = CellProgress(cells, ResultStore(tmp_path), clock)
        clock.now = 10.0
        assert progress.now().in_words() == "0 of 2, 90 of 200 edits"
    with leased(leases, cells[0], 95):
        now = progress.now()
        assert now.edits == 95
        assert now.edits_rate == pytest.approx(0.5)
        assert now.seconds_left == pytest.approx(1.05 / 0.05 * 10)
    progress.ended(ended(cells[0], 100))
    now = progress.now()
    assert now.edits_rate == pytest.approx(1.0)
    assert now.rate == pytest.approx(0.01)


def test_a_cell_of_an_earlier_run_that_ends_soon_or_fails(tmp_path: Path) -> None:
    clock, _, cells, progress = following(tmp_path, number=3)
    clock.now = 10.0
    progress.ended(ended(cells[0], 100, earlier=80))
    assert progress.now().edits_rate == pytest.approx(2.0)
    progress.ended(ended(cells[1], 0, earlier=80, error="no", outcome="failed"))
    now = progress.now()
    assert now.edits_rate == pytest.approx(2.0)
    assert now.done == 2
    assert now.rate == pytest.approx(0.12)


def test_a_checkpointer_counts_edits_and_a_lease_reports_them(tmp_path: Path) -> None:
    checkpointer, leases = Checkpointer(), Leases(tmp_path, every=3600.0)
    key, nothing = "a" * 64, Checkpoint(progress={}, state={})
    assert leases.progress(key) == EditCount()
    lease = leases.acquire(key)
    assert lease is not None
    with lease:
        lease.report(lambda: checkpointer.count)
        checkpointer.continue_from(5)
        checkpointer.after_edit(lambda: nothing)
        checkpointer.after_batch(lambda: nothing)
        assert leases.progress(key) == EditCount(0, 0)
        size = (tmp_path / f"{key}.json").stat().st_size
        lease._write()
        assert leases.progress(key) == EditCount(6, 5)
        assert (tmp_path / f"{key}.json").stat().st_size == size


def test_a_pipe_has_a_line_now_and_then(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, store, now = jobs(tmp_path, number=2), ResultStore(tmp_path), [0.0]
    monkeypatch.setattr("bench.runner.observers.time.monotonic", lambda: now[0])
    progress, display = CellProgress(cells, store), Display(every=30.0)
    display.started(progress)
    with leased(store.leases, cells[1], 30):
        progress.ended(ended(cells[0], 100))
        display.finished(ended(cells[0], 100))
        now[0] = 29.0
        display.beat()
        assert capsys.readouterr() == ("", "")
        now[0] = 30.0
        display.beat()
        display.beat()
    display.ended(stopped=False)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("cells: 1 of 2, 130 of 200 edits")


def test_a_terminal_shows_cells_rate_and_failures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_terminal(monkeypatch)
    cells = jobs(tmp_path, number=3)
    progress, display = CellProgress(cells, ResultStore(tmp_path)), Display()
    display.started(progress)
    for cell in (
        ended(cells[0], 4),
        ended(cells[1], 0, error="RuntimeError: no", outcome="failed"),
        ended(cells[2], 0, outcome="found"),
    ):
        progress.ended(cell)
        display.finished(cell)
    display.ended(stopped=False)
    captured = capsys.readouterr()
    assert captured.out == ""
    for outcome in ("1.5 s", "failed: RuntimeError: no", "found"):
        assert f"ft on zsre: {outcome}" in captured.err
    assert "cells/min" in captured.err
    assert "3 of 3" in captured.err
