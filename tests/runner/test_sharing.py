"""Several real processes on one store: no cell twice, none lost, all complete in each of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from bench.core.progress import StopFlag, StoppedEarly
from bench.runner import run
from bench.runner.executors.base import Finished
from bench.runner.worker import Worker
from bench.store import results
from bench.store.results import ResultStore, is_complete
from bench.store.running import Lease, Leases
from tests.support.fake_jobs import FakeJob, executed, fake_job, runs
from tests.support.source import ROOT

# Runs jobs as an executor does: one after the other, then what others were running.
RUNNER = """
import os, sys, time
from pathlib import Path
from bench.runner import worker as module
from bench.store.results import ResultStore
from tests.support.fake_jobs import executed, fake_job
from bench.runner import run
run.EVERY = 0.1
module.provenance = lambda *_, **__: {}
records, log, count, seconds = Path(sys.argv[1]), Path(sys.argv[2]), *map(float, sys.argv[3:5])
jobs = [fake_job(log, seed, seconds=seconds) for seed in range(int(count))]
store = ResultStore(records)
(log.parent / f"ready.{os.getpid()}").touch()
while len(list(log.parent.glob("ready.*"))) < int(sys.argv[5]):
    time.sleep(0.01)
cells = executed(jobs, store)
print(",".join(cell.outcome for cell in cells), flush=True)
"""


@pytest.fixture(autouse=True)
def quick(no_provenance: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "EVERY", 0.05)


def start_runner(
    store: ResultStore, log: Path, count: int, seconds: float, *, together: int = 1
) -> subprocess.Popen[str]:
    """A process that begins when as many as `together` are ready."""
    words = [str(store.directory), str(log), str(count), str(seconds), str(together)]
    return subprocess.Popen(
        [sys.executable, "-c", RUNNER, *words],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def other_lease(store: ResultStore, job: FakeJob) -> Lease:
    """As if another process were computing the cell."""
    lease = Leases(store.leases).acquire(job.cell.key())
    assert lease is not None
    return lease


@pytest.mark.slow
def test_processes_share_a_grid(store: ResultStore, log: Path) -> None:
    processes = [start_runner(store, log, 12, 0.1, together=3) for _ in range(3)]
    ended = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, ended
    assert sorted(runs(log)) == list(range(12))  # each once
    outcomes = [out.strip().split(",") for out, _ in ended]
    assert [len(of_one) for of_one in outcomes] == [12] * 3  # and all complete in every process
    assert sum(of_one.count("done") for of_one in outcomes) == 12
    assert sum("done" in of_one for of_one in outcomes) > 1  # they did share it
    assert {outcome for of_one in outcomes for outcome in of_one} <= {"done", "found"}
    assert len([record for record in store.records() if is_complete(record)]) == 12
    assert not store.leases.exists()


@pytest.mark.slow
def test_the_cell_of_a_killed_process_is_taken_over_at_once(store: ResultStore, log: Path) -> None:
    victim = start_runner(store, log, 1, 600)
    until = time.monotonic() + 60
    while not runs(log) and time.monotonic() < until:
        time.sleep(0.02)
    assert runs(log)
    try:
        assert Worker(store).run(fake_job(log)).outcome == "elsewhere"
    finally:
        victim.send_signal(signal.SIGKILL)  # and nobody has asked for its end yet: a zombie
    (cell,) = executed([fake_job(log)], store)
    victim.communicate()
    assert cell.outcome == "done"
    assert runs(log) == [0, 0]
    assert not store.leases.exists()


def test_waiting_ends_with_the_record(store: ResultStore, log: Path) -> None:
    jobs = [fake_job(log, seed) for seed in range(3)]
    lease, ended = other_lease(store, jobs[1]), []

    def end_the_other(cell: Finished) -> None:
        ended.append(cell)
        if len(ended) == 2:  # while this process waits
            store.write(results.complete(jobs[1].cell, {}, {}, {"summary": {}}))
            lease.release()

    cells = executed(jobs, store, then=end_the_other)
    assert [cell.outcome for cell in cells] == ["done", "done", "found"]
    assert cells[-1].key == jobs[1].cell.key()
    assert runs(log) == [0, 2]


def test_who_is_waited_for_is_named(
    store: ResultStore, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = fake_job(log)
    timer = threading.Timer(0.3, other_lease(store, job).release)
    timer.start()
    assert [cell.outcome for cell in executed([job], store)] == ["done"]
    timer.join()
    assert f"1 cell is being computed by process {os.getpid()} on" in capsys.readouterr().err
    assert runs(log) == [0]


def test_waiting_can_be_stopped(store: ResultStore, log: Path) -> None:
    job, stop = fake_job(log), StopFlag()
    lease = other_lease(store, job)
    timer = threading.Timer(0.3, stop.request_stop)
    timer.start()
    with pytest.raises(StoppedEarly):
        executed([job], store, stop=stop)
    timer.join()
    lease.release()
    assert runs(log) == []


def test_a_cell_that_failed_elsewhere_is_reported(store: ResultStore, log: Path) -> None:
    Worker(store).run(fake_job(log, error="no"))
    (cell,) = executed([fake_job(log)], store)
    assert (cell.outcome, cell.error) == ("failed", "RuntimeError: no")
    assert runs(log) == [0]


def test_the_cell_of_a_silent_machine_is_taken_over(
    store: ResultStore, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = fake_job(log)
    store.leases.mkdir(parents=True)
    (store.leases / f"{job.cell.key()}.json").write_text('{"host": "other", "pid": 1}')
    patient = partial(Leases, patience=0.3)
    monkeypatch.setattr("bench.store.running.Leases", patient)
    monkeypatch.setattr("bench.runner.worker.Leases", patient)
    start = time.monotonic()
    assert [cell.outcome for cell in executed([job], store)] == ["done"]
    assert time.monotonic() - start > 0.2
    assert not store.leases.exists()


def test_the_largest_cells_come_first(log: Path) -> None:
    jobs = [fake_job(log, seed, n_edits=n) for seed, n in enumerate((2, 1, 3))]
    assert run.largest_first(jobs) == [jobs[i] for i in (2, 0, 1)]
