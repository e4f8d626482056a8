from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from bench.core.progress import StopFlag
from bench.evaluation.jobs import Job
from bench.runner import run
from bench.runner.executors.base import Executor, Finished, Outcome, Site
from bench.store.results import ResultStore
from tests.runner.executors.marking_jobs import job
from tests.support.fake_jobs import executed


class Scripted(Executor):
    """Ends each cell as the next line of a script says."""

    def __init__(self, *lines: dict[int, Outcome]) -> None:
        self.lines = list(lines)

    def run(
        self, jobs: Sequence[Job], site: Site, stop: StopFlag
    ) -> Generator[Finished, None, None]:
        line = self.lines.pop(0)
        by_seed = {one.cell.to_dict()["seed"]: one for one in jobs}
        assert sorted(by_seed) == sorted(line)
        for seed, outcome in line.items():
            key = by_seed[seed].cell.key()
            yield Finished(key=key, name="", edits=0, seconds=0, error=None, outcome=outcome)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "EVERY", 0.01)


def test_cells_that_others_hold_are_run_after_a_wait_and_reported_once(tmp_path: Path) -> None:
    jobs = [job(tmp_path / "marks", seed) for seed in range(3)]
    executor = Scripted(
        {0: "elsewhere", 1: "done", 2: "elsewhere"}, {0: "elsewhere", 2: "found"}, {0: "failed"}
    )
    found = executed(jobs, ResultStore(tmp_path), executor)
    assert [cell.outcome for cell in found] == ["done", "found", "failed"]
    assert [cell.key for cell in found] == [jobs[i].cell.key() for i in (1, 2, 0)]
    assert executor.lines == []


def test_the_largest_cells_come_first(tmp_path: Path) -> None:
    jobs = [job(tmp_path / "marks", seed) for seed in (1, 0, 2)]
    assert run.largest_first(jobs) == [jobs[i] for i in (2, 0, 1)]
