"""What a worker writes of a job: a record, unless somebody else has it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from bench.core.files import UnwritableError
from bench.runner.worker import Worker
from bench.store.results import Record, ResultStore, is_complete, mark_of
from bench.store.running import Leases
from tests.cli.commands import raising
from tests.support.fake_jobs import FakeJob, fake_job, runs

pytestmark = pytest.mark.usefixtures("no_provenance")


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
        ended = Worker(store).run(job)
        assert (ended.outcome, ended.error) == ("failed", "RuntimeError: out of memory")
    assert runs(log) == [0]
    status = record_of(store, job)["status"]
    assert status["message"] == "out of\nmemory"
    assert "Traceback" in status["traceback"]


def test_numbers_that_are_none_are_a_failure(store: ResultStore, log: Path) -> None:
    job = fake_job(log, score=float("nan"))
    ended = Worker(store).run(job)
    assert ended.outcome == "failed"
    assert "not JSON compliant" in str(ended.error)
    assert "NaN" not in store.path(ended.key).read_text()


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
    ended = Worker(store).run(job)
    assert (ended.outcome, ended.error) == ("elsewhere", None)
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
            ran = super().results(loaded, checkpointer)
            (store.leases / f"{self.cell.key()}.json").unlink()
            Worker(store).run(job)
            return ran

    slow = Taken(**{**vars(job), "score": 0.1})
    assert Worker(store).run(slow).outcome == "found"
    assert record_of(store, job)["summary"] == {"score": 0.5}


def full_disk(number: int) -> OSError:
    return OSError(number, os.strerror(number), "statistics")


@pytest.mark.parametrize(
    ("error", "raised", "sentence"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt, None),
        (full_disk(errno.ENOSPC), UnwritableError, f"{os.strerror(errno.ENOSPC)}: statistics; "),
        (full_disk(errno.EROFS), UnwritableError, f"{os.strerror(errno.EROFS)}: statistics; "),
    ],
)
def test_an_interrupt_or_a_full_disk_ends_the_run_and_the_cell_has_not_failed(
    error: BaseException,
    raised: type[BaseException],
    sentence: str | None,
    store: ResultStore,
    log: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(FakeJob, "results", raising(error))
        with pytest.raises(raised, match=sentence):
            Worker(store).run(fake_job(log))
    assert list(store.directory.iterdir()) == []
    assert Worker(store).run(fake_job(log)).outcome == "done"


def test_a_record_that_cannot_be_written_ends_the_run_and_frees_the_cell(
    store: ResultStore, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("bench.store.results.write_bytes", raising(full))
    with pytest.raises(OSError, match=r"No space left on device: .*json"):
        Worker(store).run(fake_job(log))
    assert list(store.directory.iterdir()) == []


def test_a_job_whose_file_is_missing_has_failed(
    store: ResultStore, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = FileNotFoundError(errno.ENOENT, "No such file", "corpus")
    monkeypatch.setattr(FakeJob, "results", raising(gone))
    assert Worker(store).run(fake_job(log)).outcome == "failed"
