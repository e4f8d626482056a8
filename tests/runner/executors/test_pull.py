from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench.evaluation.jobs import Job
from bench.runner import worker as serving
from bench.runner.executors import slurm_jobs as module
from bench.runner.executors.base import Finished, Outcome, Site
from bench.runner.executors.slurm_jobs import Pull, written_at, written_since
from bench.store.results import ResultStore, mark_of
from tests.runner.executors.marking_jobs import MarkingJob, job, states, tries, wait_for


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this process had served nobody."""
    monkeypatch.setattr(serving, "_serving", {})


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "out").mkdir()
    return Site(records=tmp_path / "out", working=tmp_path)


@pytest.fixture
def jobs(tmp_path: Path) -> list[MarkingJob]:
    return [job(tmp_path / "marks", seed) for seed in range(3)]


class Answering:
    """A worker that only says what became of a cell."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)

    def run(self, job: Job) -> Finished:
        outcome = self.outcomes.pop(0)
        return Finished(
            key=job.cell.key(), name="", edits=0, seconds=0, error=None, outcome=outcome
        )


def test_everything_is_taken_once_failures_too(site: Site, jobs: list[MarkingJob]) -> None:
    failing = job(jobs[0].marks, 3, fails=True)
    Pull(jobs=[*jobs, failing], site=site)()
    assert states(site.records) == {0: "complete", 1: "complete", 2: "complete", 3: "failed"}
    old = ResultStore(site.records).read(jobs[0].cell.key())
    assert old is not None
    again = replace(jobs[0], replaces=mark_of(old))
    for _ in range(2):  # a worker that is queued again has the same list
        Pull(jobs=[again, *jobs[1:], failing], site=site)()
        assert [len(tries(one)) for one in (*jobs, failing)] == [2, 1, 1, 1]


def test_stamps_tell_what_was_written_since(site: Site, jobs: list[MarkingJob]) -> None:
    Pull(jobs=jobs[:1], site=site)()
    before = written_at(site.records, jobs)
    assert list(before) == [jobs[0].cell.key()]
    assert written_since(site.records, jobs, before) == []
    Pull(jobs=jobs[1:2], site=site)()
    assert written_since(site.records, jobs, before) == [jobs[1]]
    site.records.joinpath(f"{jobs[0].cell.key()}.json").touch()
    assert written_since(site.records, jobs, before) == jobs[:2]


def test_cells_held_elsewhere_are_asked_for_again_while_patience_lasts(
    site: Site, jobs: list[MarkingJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    worker = Answering("done", "elsewhere", "elsewhere", "elsewhere", "found", "done")
    monkeypatch.setattr(serving, "worker_at", lambda *_: worker)
    Pull(jobs=jobs, site=site, patience=60.0)()
    assert worker.outcomes == []


def test_patience_ends(site: Site, jobs: list[MarkingJob], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    held: list[Outcome] = ["elsewhere"] * 10_000
    worker = Answering(*held)
    monkeypatch.setattr(serving, "worker_at", lambda *_: worker)
    start = time.monotonic()
    Pull(jobs=jobs, site=site, patience=0.2)()
    assert 0.2 <= time.monotonic() - start < 10
    assert 0 < len(worker.outcomes) < 10_000


@pytest.mark.parametrize(("lacking", "what"), [("records", "records"), ("working", "inputs")])
def test_a_directory_that_a_machine_does_not_see_is_named(
    site: Site, jobs: list[MarkingJob], lacking: str, what: str, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    elsewhere = replace(site, records=gone) if lacking == "records" else replace(site, working=gone)
    with pytest.raises(FileNotFoundError, match=f"directory of {what}, {gone}, does not exist on"):
        Pull(jobs=jobs, site=elsewhere)()


@pytest.mark.parametrize("heeds", [False, True])
def test_a_checkpoint_stops_the_cell_and_gives_the_worker_as_it_began(
    heeds: bool, site: Site, tmp_path: Path
) -> None:
    jobs = [job(tmp_path / "marks", seed, seconds=0.5, heeds=heeds) for seed in range(2)]
    pull = Pull(jobs=jobs, site=site)
    runner = threading.Thread(target=pull)
    runner.start()
    wait_for(tmp_path / "marks" / "0-0")
    submission = pull.checkpoint()
    runner.join(30)
    # One that does not look whether it is asked can end; no other is begun.
    assert states(site.records) == ({} if heeds else {0: "complete"})
    again = submission.function
    assert again == Pull(jobs=jobs, site=site)
    serving._serving.clear()  # it is another process that takes it up
    again()
    assert states(site.records) == {0: "complete", 1: "complete"}
    assert len(tries(jobs[0])) == 1 + heeds
