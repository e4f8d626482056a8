from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.core.run_options import USUAL, Conduct
from bench.core.stopping import StopFlag
from bench.evaluation.jobs import Job
from bench.runner.executors.base import Executor
from bench.runner.waiting import until_done
from bench.runner.worker import Finished, Outcome
from bench.store.results import ResultStore
from tests.runner.executors.made_jobs import job


class Scripted(Executor):
    """Ends each cell as the next line of a script says."""

    def __init__(self, *lines: dict[int, Outcome]) -> None:
        self.lines = list(lines)

    def run(
        self,
        jobs: Sequence[Job],
        directory: Path,
        *,
        conduct: Conduct = USUAL,
        stop: StopFlag | None = None,
    ) -> Iterator[Finished]:
        line = self.lines.pop(0)
        by_seed = {one.cell.to_dict()["seed"]: one for one in jobs}
        assert sorted(by_seed) == sorted(line)
        for seed, outcome in line.items():
            key = by_seed[seed].cell.key()
            yield Finished(key=key, name="", edits=0, seconds=0, error=None, outcome=outcome)


def test_cells_that_others_hold_are_run_after_a_wait_and_told_once(tmp_path: Path) -> None:
    jobs = [job(tmp_path / "marks", seed) for seed in range(3)]
    executor = Scripted(
        {0: "elsewhere", 1: "done", 2: "elsewhere"}, {0: "elsewhere", 2: "found"}, {0: "failed"}
    )
    found = list(until_done(executor, jobs, ResultStore(tmp_path), every=0.01))
    assert [one.outcome for one in found] == ["done", "found", "failed"]
    assert [one.key for one in found] == [jobs[i].cell.key() for i in (1, 2, 0)]
    assert executor.lines == []


def test_without_others_nothing_is_waited_for(tmp_path: Path) -> None:
    jobs = [job(tmp_path / "marks", 0)]
    found = list(until_done(Scripted({0: "done"}), jobs, ResultStore(tmp_path), every=600.0))
    assert len(found) == 1
