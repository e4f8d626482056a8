"""Processes and Ray workers killed at any instant of real cells, and the grid that continues."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.core.config import RunConfig, RunOptions
from bench.core.progress import StopFlag
from bench.evaluation.context import Context
from bench.evaluation.jobs import EditJob
from bench.runner.run import site_of
from bench.runner.worker import Worker
from bench.store.results import ResultStore
from tests.faults.grid import EDITORS, Trial, assert_tidy, results
from tests.faults.test_crowds import forked

pytestmark = pytest.mark.faults

FAULTS = "kills"
FORKED, WHOLE = 90, 10  # kills of workers with a warm model, and of `python -m bench run`
OF_RAY = 2
SHARE = 0.5  # of the seconds of a grid, within which a worker is killed
EVERY_EDIT = RunOptions(checkpoint_seconds=0.0, checkpoint_edits=1)


def worked(jobs: Sequence[EditJob], context: Context, out: Path) -> int:
    """0 where a worker, with the model that is loaded here, has done a grid."""
    worker = Worker(ResultStore(out), EVERY_EDIT, context=context)
    return int(not {worker.run(job).outcome for job in jobs} <= {"done", "found"})


def killed_after(child: int, seconds: float) -> int | None:
    """Kill a process; None if it was killed, the exit code if it ended before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return None if code == -signal.SIGKILL else code


def warm(jobs: Sequence[EditJob], out: Path) -> tuple[Context, float]:
    """A worker's loaded objects after a whole grid, and the seconds of a second grid."""
    context = Context()
    for number in range(2):
        start = time.monotonic()
        worker = Worker(ResultStore(out / str(number)), EVERY_EDIT, context=context)
        assert {worker.run(job).outcome for job in jobs} == {"done"}
    return context, time.monotonic() - start


def test_killed_workers(trial: Trial) -> None:
    jobs, whole = trial.home.jobs(), trial.home.whole
    context, seconds = warm(jobs, trial.folder / "warm")
    grids = 0
    while trial.count.tried < FORKED:
        out, finished = trial.folder / f"out-{grids}", 0
        out.mkdir()
        done = None
        while done is None and trial.count.tried < FORKED:
            child = forked(partial(worked, jobs, context, out))
            done = killed_after(child, trial.chance.uniform(0, SHARE * seconds))
            if done is None:
                with trial.count.trying(f"kill {trial.count.tried} of grid {grids}"):
                    now = results(out)
                    assert now == {key: whole[key] for key in now}
                    assert len(now) >= finished
                    finished = len(now)
        with trial.count.checking(f"grid {grids}"):
            assert done in {0, None}
            assert main(trial.home.arguments(out)) == 0
            assert results(out) == whole
            assert_tidy(out)
        grids += 1
    assert grids > 3
    trial.count.settle(FORKED)


def test_killed_runs(trial: Trial) -> None:
    whole, out = trial.home.whole, trial.folder / "out-0"
    before, seconds = trial.count.tried, 3.0
    command = [sys.executable, "-m", "bench"]
    while trial.count.tried < before + WHOLE:
        words = [*command, *trial.home.arguments(out)]
        with subprocess.Popen(words, stdout=-3, stderr=-3) as process:
            if trial.chance.random() < 0.7:  # else anywhere, mostly before the first edit
                wait_for_work(out, process)
            started = time.monotonic()
            delay = trial.chance.uniform(0, SHARE * seconds)
            ended = killed(process, started + delay)
        if not ended:
            with trial.count.trying(f"kill of a run in {out.name}"):
                now = results(out)
                assert now == {key: whole[key] for key in now}
            continue
        with trial.count.checking(f"the run in {out.name}"):
            assert process.returncode == 0
            assert results(out) == whole
            assert_tidy(out)
        out = trial.folder / f"out-{trial.count.tried}"
    with trial.count.checking(f"the run in {out.name}"):
        assert main(trial.home.arguments(out)) == 0
        assert results(out) == whole
        assert_tidy(out)
    trial.count.settle(WHOLE)


def wait_for_work(out: Path, process: subprocess.Popen[bytes]) -> None:
    """Until a process has a lease, or is done."""
    leases = out / "claims"
    before = {path.read_bytes() for path in leases.glob("*.json")}
    while process.poll() is None:
        try:
            if any(path.read_bytes() not in before for path in leases.glob("*.json")):
                return
        except FileNotFoundError:
            pass
        time.sleep(0.002)


def killed(process: subprocess.Popen[bytes], instant: float) -> bool:
    """Kill a process at an instant; whether it was done before."""
    while time.monotonic() < instant:
        if process.poll() is not None:
            return True
        time.sleep(0.002)
    process.kill()
    return process.wait() != -signal.SIGKILL


def test_ray_workers(trial: Trial) -> None:
    pytest.importorskip("ray", reason="ray is not installed: its workers cannot be killed")
    from bench.runner.executors.ray_cluster import RayExecutor

    count, out, whole = trial.tally["ray"], trial.folder / "out", trial.home.whole
    out.mkdir()
    killed: dict[str, int] = {}
    over = threading.Event()

    def kill() -> None:
        """Kill the holder of a lease, once for each of a few cells."""
        while len(killed) < OF_RAY and not over.is_set():
            for lease in (out / "claims").glob("*.json"):
                try:
                    process = int(json.loads(lease.read_text())["pid"])
                except (OSError, ValueError):  # just released, or not written yet
                    continue
                if lease.stem in killed or process in killed.values():
                    continue
                time.sleep(trial.chance.uniform(0, 0.1))
                os.kill(process, signal.SIGKILL)
                killed[lease.stem] = process
                break
            time.sleep(0.005)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        executor = RayExecutor(RunConfig(executor="ray", jobs=1))
        finished = [*executor.run(trial.home.jobs(EDITORS), site_of(out, EVERY_EDIT), StopFlag())]
    finally:
        over.set()
        killer.join()
    for key in killed:
        with count.trying(f"the worker of {key}"):
            assert results(out).get(key) == whole[key]
    with count.checking("the other cells"):
        assert len(finished) == len(whole)
        assert results(out) == whole
        assert not ResultStore(out).leases.exists()
    count.settle(OF_RAY)
