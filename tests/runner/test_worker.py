"""What a worker makes of a job: a record, or the word that somebody has it."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from bench.core.files import UnwritableError
from bench.runner import worker as module
from bench.runner.worker import Worker
from bench.store.results import Record, ResultStore, is_complete, mark_of
from bench.store.running import Leases
from tests.support.fake_jobs import FakeJob, fake_job, runs


@pytest.fixture(autouse=True)
def no_provenance(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks git and the processor, which is not the matter here."""
    monkeypatch.setattr(module, "provenance", lambda *_, **__: {})


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "records")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def record_of(store: ResultStore, job: FakeJob) -> Record:
    record = store.read(job.cell.key())
    assert record is not None
    return record


def test_a_job_is_run_once(store: ResultStore, log: Path) -> None:
    job = fake_job(log)
    first = Worker(store).run(job)
    assert (first.outcome, first.error, first.edits) == ("done", None, 1)
    assert is_complete(record_of(store, job))
    again = Worker(store).run(job)
    assert (again.outcome, again.key, again.name) == ("found", first.key, first.name)
    assert runs(log) == [0]
    assert [path.name for path in store.directory.iterdir()] == [f"{first.key}.json"]


def test_a_job_that_fails_is_recorded_and_not_run_again(store: ResultStore, log: Path) -> None:
    job = fake_job(log, error="out of\nmemory")
    for _ in range(2):
        one = Worker(store).run(job)
        assert (one.outcome, one.error) == ("failed", "RuntimeError: out of memory")
    assert runs(log) == [0]
    status = record_of(store, job)["status"]
    assert status["message"] == "out of\nmemory"
    assert "Traceback" in status["traceback"]


def test_numbers_that_are_none_are_a_failure(store: ResultStore, log: Path) -> None:
    job = fake_job(log, score=float("nan"))
    one = Worker(store).run(job)
    assert one.outcome == "failed"
    assert "not JSON compliant" in str(one.error)
    assert "NaN" not in store.path(one.key).read_text()


@pytest.mark.parametrize("error", [None, "no"])
def test_a_job_replaces_the_record_that_it_names_and_no_later_one(
    store: ResultStore, log: Path, error: str | None
) -> None:
    Worker(store).run(fake_job(log, error=error))
    mark = mark_of(record_of(store, fake_job(log)))
    job = fake_job(log, replaces=mark, score=0.75)
    assert Worker(store).run(job).outcome == "done"
    assert record_of(store, job)["summary"] == {"score": 0.75}
    assert Worker(store).run(job).outcome == "found"  # another process, of the same command
    assert runs(log) == [0, 0]


def test_a_cell_of_another_process_is_elsewhere(store: ResultStore, log: Path) -> None:
    job = fake_job(log)
    other = Leases(store.leases).acquire(job.cell.key())
    assert other is not None
    one = Worker(store).run(job)
    assert (one.outcome, one.error) == ("elsewhere", None)
    assert runs(log) == []
    other.release()
    assert Worker(store).run(job).outcome == "done"


def test_what_was_written_just_before_the_lease_is_found(store: ResultStore, log: Path) -> None:
    job = fake_job(log)

    class Late(Leases):
        def acquire(self, key: str):  # type: ignore[no-untyped-def]
            Worker(store).run(job)
            return super().acquire(key)

    assert Worker(store, leases=Late(store.leases)).run(job).outcome == "found"
    assert runs(log) == [0]


def test_who_lost_its_lease_leaves_the_record_of_the_other(store: ResultStore, log: Path) -> None:
    job = fake_job(log)

    class Taken(FakeJob):
        def results(self, loaded, checkpointer):  # type: ignore[no-untyped-def]
            found = super().results(loaded, checkpointer)
            (store.leases / f"{self.cell.key()}.json").unlink()
            Worker(store).run(job)
            return found

    slow = Taken(**{**vars(job), "score": 0.1})
    assert Worker(store).run(slow).outcome == "found"
    assert record_of(store, job)["summary"] == {"score": 0.5}


def test_an_interrupted_job_gives_its_lease_back(
    store: ResultStore, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeJob, "results", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Worker(store).run(fake_job(log))
    assert list(store.directory.iterdir()) == []


def test_a_record_that_cannot_be_written_ends_the_run_and_frees_the_cell(
    store: ResultStore, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bench.store.results.write_bytes", full)
    with pytest.raises(OSError, match=r"No space left on device: .*json"):
        Worker(store).run(fake_job(log))
    assert list(store.directory.iterdir()) == []


def test_the_lease_of_a_running_cell_is_there(store: ResultStore, log: Path) -> None:
    seen = []

    class Looking(FakeJob):
        def results(self, loaded, checkpointer):  # type: ignore[no-untyped-def]
            seen.append(json.loads((store.leases / f"{self.cell.key()}.json").read_text())["host"])
            return super().results(loaded, checkpointer)

    Worker(store).run(Looking(**vars(fake_job(log))))
    assert len(seen) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_job_that_finds_no_room_ends_the_run_and_has_not_failed(
    number: int, store: ResultStore, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number), "statistics")

    with monkeypatch.context() as patch:
        patch.setattr(FakeJob, "results", full)
        with pytest.raises(UnwritableError, match=f"{os.strerror(number)}: statistics; "):
            Worker(store).run(fake_job(log))
    assert store.paths() == []
    assert not store.leases.exists()
    assert Worker(store).run(fake_job(log)).outcome == "done"


def test_a_job_whose_file_is_missing_has_failed(
    store: ResultStore, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file", "corpus")

    monkeypatch.setattr(FakeJob, "results", gone)
    assert Worker(store).run(fake_job(log)).outcome == "failed"
