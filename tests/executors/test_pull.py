from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from bench.executors import pull as module
from bench.executors import serving
from bench.executors.pull import Pull, stamps, written_since
from bench.executors.serving import Site
from bench.jobs import Job
from bench.worker import Finished, Outcome
from tests.executors.made_jobs import MarkingJob, job, states, tries


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this process had served nobody."""
    monkeypatch.setattr(serving, "_kept", {})


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
    Pull(jobs=[*jobs, failing], site=site, before={})()
    assert states(site.records) == {0: "complete", 1: "complete", 2: "complete", 3: "failed"}
    before = stamps(site.records, jobs[:1])
    Pull(jobs=[*jobs, failing], site=site, before=before)()  # only the first one is old
    assert [len(tries(one)) for one in (*jobs, failing)] == [2, 1, 1, 1]


def test_stamps_tell_what_was_written_since(site: Site, jobs: list[MarkingJob]) -> None:
    Pull(jobs=jobs[:1], site=site, before={})()
    before = stamps(site.records, jobs)
    assert list(before) == [jobs[0].cell.key()]
    assert written_since(site.records, jobs, before) == []
    Pull(jobs=jobs[1:2], site=site, before={})()
    assert written_since(site.records, jobs, before) == [jobs[1]]
    Pull(jobs=jobs[:1], site=site, before=before)()
    assert written_since(site.records, jobs, before) == jobs[:2]


def test_cells_held_elsewhere_are_asked_for_again_while_patience_lasts(
    site: Site, jobs: list[MarkingJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.01)
    worker = Answering("done", "elsewhere", "elsewhere", "elsewhere", "found", "done")
    monkeypatch.setattr(module, "worker_at", lambda _: worker)
    Pull(jobs=jobs, site=site, before={}, patience=60.0)()
    assert worker.outcomes == []


def test_patience_ends(site: Site, jobs: list[MarkingJob], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.01)
    held: list[Outcome] = ["elsewhere"] * 10_000
    worker = Answering(*held)
    monkeypatch.setattr(module, "worker_at", lambda _: worker)
    start = time.monotonic()
    Pull(jobs=jobs, site=site, before={}, patience=0.2)()
    assert 0.2 <= time.monotonic() - start < 10
    assert 0 < len(worker.outcomes) < 10_000


@pytest.mark.parametrize(("lacking", "what"), [("records", "records"), ("working", "inputs")])
def test_a_directory_that_a_machine_does_not_see_is_named(
    site: Site, jobs: list[MarkingJob], lacking: str, what: str, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    elsewhere = Site(**({"records": site.records, "working": site.working} | {lacking: gone}))
    with pytest.raises(FileNotFoundError, match=f"directory of {what}, {gone}, does not exist on"):
        Pull(jobs=jobs, site=elsewhere, before={})()


def test_a_checkpoint_asks_the_cell_to_stop_and_gives_the_worker_as_it_began(
    site: Site, tmp_path: Path
) -> None:
    asked = threading.Event()
    jobs = [job(tmp_path / "marks", seed, seconds=0.5) for seed in range(2)]
    pull = Pull(jobs=jobs, site=site, before={}, stop=asked.set)
    runner = threading.Thread(target=pull)
    runner.start()
    mark = tmp_path / "marks" / "0-0"
    while not mark.exists():
        time.sleep(0.01)
    submission = pull.checkpoint()
    assert asked.is_set()
    runner.join(30)
    assert states(site.records) == {0: "complete"}  # it could end; no other was begun
    again = submission.function
    assert again == Pull(jobs=jobs, site=site, before={}, stop=asked.set)
    again()
    assert states(site.records) == {0: "complete", 1: "complete"}
    assert len(tries(jobs[0])) == 1
