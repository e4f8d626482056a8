from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.core.progress import StopFlag
from bench.runner.executors.local import ATTEMPTS, LocalExecutor
from bench.runner.run import site_of
from bench.runner.worker import lost
from bench.store.results import mark_of
from tests.runner.executors.marking_jobs import (
    all_records,
    job,
    process_of,
    states,
    tries,
    wait_for,
)


def test_one_process_is_this_one_and_takes_cells_in_order(marks: Path, out: Path) -> None:
    jobs = [job(marks, seed) for seed in (1, 0, 2)]
    finished = list(LocalExecutor(1).run(jobs, site_of(out), StopFlag()))
    assert [end.key for end in finished] == [each.cell.key() for each in jobs]
    assert {end.outcome for end in finished} == {"done"}
    assert states(out) == dict.fromkeys(range(3), "complete")


def test_nothing_to_do_starts_nothing(tmp_path: Path) -> None:
    assert list(LocalExecutor(2).run([], site_of(tmp_path), StopFlag())) == []


@pytest.mark.slow
def test_a_killed_process_takes_no_other_cell_with_it(marks: Path, out: Path) -> None:
    once, always = job(marks, 3, deaths=1), job(marks, 2, deaths=9)
    well, failing = job(marks, 1), job(marks, 0, fails=True)
    jobs = [well, always, failing, once]
    finished = {f.key: f for f in LocalExecutor(2).run(jobs, site_of(out), StopFlag())}
    assert len(finished) == 4
    assert states(out) == {3: "complete", 2: "failed", 1: "complete", 0: "failed"}
    assert len(tries(once)) == 2
    assert len({process_of(mark) for mark in tries(once)}) == 2  # a fresh one
    assert len(tries(always)) == ATTEMPTS
    lost = finished[always.cell.key()]
    assert lost.outcome == "failed"
    assert lost.error == "KilledError: worker process was killed, out of memory?"
    assert finished[failing.cell.key()].error == "RuntimeError: no such luck"
    (record,) = [r for r in all_records(out) if r["cell"]["seed"] == 2]
    assert record["status"]["message"] == "worker process was killed, out of memory?"
    processes = {process_of(mark) for each in (once, always, well, failing) for mark in tries(each)}
    assert not (out / "claims").exists()
    assert len(processes) <= 2 + 1 + ATTEMPTS  # two that serve, and a new one after each death


def test_a_cell_that_another_run_has_ended_is_not_lost(marks: Path, out: Path) -> None:
    cell = job(marks, 0)
    assert lost(cell, out, 1.0).outcome == "failed"
    again = replace(cell, replaces=mark_of(all_records(out)[0]))
    list(LocalExecutor(1).run([again], site_of(out), StopFlag()))
    assert states(out) == {0: "complete"}
    assert lost(cell, out, 1.0).outcome == "found"
    assert states(out) == {0: "complete"}


@pytest.mark.slow
def test_an_error_lets_no_cell_run_to_its_end(marks: Path, out: Path) -> None:
    quick, slow = job(marks, 0), job(marks, 1, seconds=300.0, heeds=True)
    finished: Any = LocalExecutor(2).run([quick, slow], site_of(out), StopFlag())
    assert next(finished).key == quick.cell.key()
    wait_for(marks / "1-0")
    finished.close()  # whoever takes them has met an error
    assert states(out) == {0: "complete"}
