"""Ray with several nodes, which its own test cluster starts on this machine."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.core.config import RunConfig
from bench.core.progress import StopFlag, StoppedEarly
from bench.runner.executors.ray_cluster import RETRIES, RayExecutor
from bench.runner.run import site_of
from tests.runner.executors.marking_jobs import job, process_of, states, tries, wait_for
from tests.support.source import ROOT

STORE_BYTES = 100 * 2**20  # the least that Ray allows is 75 MiB

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a cluster of two nodes with one core each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(ROOT))
        from ray.cluster_utils import Cluster

        cluster = Cluster()
        cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES, include_dashboard=False)
        cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
        try:
            yield str(cluster.address)
        finally:
            cluster.shutdown()


def at(address: str) -> RayExecutor:
    return RayExecutor(RunConfig(executor="ray", ray_address=address))


def test_a_worker_killed_in_mid_cell_is_replaced_and_the_run_ends_complete(
    address: str, marks: Path, out: Path
) -> None:
    cut, always = job(marks, 3, hangs=1), job(marks, 2, deaths=9)
    others = [job(marks, seed, seconds=0.3) for seed in range(2)]

    def kill() -> None:
        os.kill(wait_for(marks / "3-0"), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    running = at(address).run([cut, always, *others], site_of(out), StopFlag())
    finished = {end.key: end for end in running}
    killer.join()
    assert len(finished) == 4
    assert states(out) == {0: "complete", 1: "complete", 2: "failed", 3: "complete"}
    assert len(tries(cut)) == 2
    assert len(tries(always)) == 1 + RETRIES
    assert finished[always.cell.key()].error == (
        "KilledError: worker process was killed, out of memory?"
    )
    every = [mark for each in (cut, always, *others) for mark in tries(each)]
    nodes = {int(mark.read_text().split()[1]) for mark in every}
    assert len(nodes) == 2  # a worker's parent is its node
    assert len({process_of(mark) for mark in every}) < len(every)  # workers serve again


def test_asked_to_stop_workers_store_what_they_do_and_begin_nothing(
    address: str, marks: Path, out: Path
) -> None:
    stop = StopFlag()
    jobs = [job(marks, seed, seconds=30.0 if seed < 3 else 0.0, heeds=True) for seed in range(4)]
    running = at(address).run(jobs[::-1], site_of(out), stop)
    assert next(running).key == jobs[3].cell.key()
    wait_for(marks / "2-0")
    stop.request_stop()
    with pytest.raises(StoppedEarly):
        list(running)
    assert states(out) == {3: "complete"}
    assert not tries(jobs[0])
    assert [path for path in out.iterdir() if path.name.startswith(".stop")] == []


def test_an_interrupt_cancels_what_waits_and_lets_what_runs_end(
    address: str, marks: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [job(marks, seed, seconds=1.0) for seed in range(8)]
    running = at(address).run(jobs, site_of(out), StopFlag())
    next(running)
    with pytest.raises(KeyboardInterrupt):
        running.throw(KeyboardInterrupt())
    assert "workers stop after their present edit or batch" in capsys.readouterr().err
    begun = {each.cell.seed for each in jobs if tries(each)}
    assert 1 <= len(begun) < len(jobs)
    assert states(out) == dict.fromkeys(begun, "complete")


def test_a_directory_that_a_worker_does_not_see_is_named(
    address: str, marks: Path, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(OSError, match=f"directory of records, {gone}, does not exist on"):
        list(at(address).run([job(marks, 0)], site_of(gone), StopFlag()))


def test_an_address_without_ray_is_one_sentence(marks: Path, out: Path) -> None:
    with pytest.raises(ValueError, match=r"No Ray at '127.0.0.1:1': "):
        list(at("127.0.0.1:1").run([job(marks, 0)], site_of(out), StopFlag()))
