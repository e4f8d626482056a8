"""Workers that submitit starts: on this machine with its local engine, and what Slurm would get."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from submitit.core.job_environment import JobEnvironment

from bench.cli.main import main
from bench.core.config import RunConfig
from bench.core.progress import StopFlag
from bench.runner.executors.slurm_jobs import SlurmExecutor
from bench.runner.run import site_of
from tests.runner.executors.marking_jobs import job, process_of, states, tries, wait_for

USR = getattr(signal, f"SIG{JobEnvironment.USR_SIG}")  # what comes before the end of a job


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def config(folder: Path, **options: Any) -> RunConfig:
    return RunConfig(executor="slurm", slurm_folder=folder / "folder", **options)


def logs(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted(folder.glob("*_log.*")))


@pytest.mark.slow
def test_a_worker_that_is_ended_is_queued_again_and_goes_on(tmp_path: Path, out: Path) -> None:
    marks = tmp_path / "marks"
    failing, first = job(marks, 3, fails=True), job(marks, 2)
    cut, last = job(marks, 1, seconds=1.0), job(marks, 0)
    executor = SlurmExecutor(config(tmp_path, slurm_cluster="local"))

    def end() -> None:
        os.kill(wait_for(marks / "1-0"), USR)

    ender = threading.Thread(target=end)
    ender.start()
    running = executor.run([failing, first, cut, last], site_of(out), StopFlag())
    finished = {one.key: one for one in running}
    ender.join()
    assert states(out) == {3: "failed", 2: "complete", 1: "complete", 0: "complete"}
    failure = finished.pop(failing.cell.key())
    assert (failure.outcome, failure.error) == ("failed", "RuntimeError: no such luck")
    assert len(finished) == 3
    assert {(one.outcome, one.error) for one in finished.values()} == {("done", None)}
    log = logs(tmp_path / "folder")
    assert "this job is preempted" in log
    assert log.count("Requeued job") == 1
    # The one that was cut had time to end, and the one that failed is not tried in vain again.
    assert [len(tries(one)) for one in (failing, first, cut, last)] == [1, 1, 1, 1]
    assert process_of(tries(last)[0]) != process_of(tries(first)[0])


@pytest.mark.slow
def test_a_worker_that_breaks_is_named_with_its_log(tmp_path: Path, out: Path) -> None:
    killing = job(tmp_path / "marks", 1, deaths=9)
    fine = job(tmp_path / "marks", 2)
    executor = SlurmExecutor(config(tmp_path, slurm_cluster="local"))
    running = executor.run([fine, killing], site_of(out), StopFlag())
    assert next(running).key == fine.cell.key()
    with pytest.raises(OSError, match=r"1 cells are left: job [0-9]+ ended with .*_log\.err"):
        next(running)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for Slurm's commands: sbatch keeps what it is given and numbers it 17."""
    commands = tmp_path / "commands"
    commands.mkdir()
    kept = tmp_path / "sbatch.sh"
    for name in ("srun", "sbatch", "sacct"):
        body = f'cp "$1" {kept}\necho Submitted batch job 17' if name == "sbatch" else "exit 0"
        (commands / name).write_text(f"#!/bin/sh\n{body}\n")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    return kept


def test_slurm_gets_what_was_asked_for(slurm: Path, tmp_path: Path, out: Path) -> None:
    wanted = config(
        tmp_path,
        slurm_workers=2,
        slurm_time=90,
        slurm_partition="gpu",
        slurm_gpus=1,
        slurm_option={"account": "lab", "signal-delay-s": 120, "licenses": "a:1"},
    )
    jobs = [job(tmp_path / "marks", seed) for seed in range(3)]
    submitted = SlurmExecutor(wanted).submit(jobs, site_of(out))
    assert submitted == ["17_0", "17_1"]
    lines = {line.removeprefix("#SBATCH --") for line in slurm.read_text().splitlines()}
    assert {
        "array=0-1%2",
        "time=90",
        "partition=gpu",
        "gpus-per-node=1",
        "cpus-per-task=1",
        "ntasks-per-node=1",
        "account=lab",
        "licenses=a:1",
        "signal=USR2@120",
    } <= lines
    assert list(out.iterdir()) == []  # it returned at once


def test_detached_the_command_returns_and_says_how_to_go_on(
    slurm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["run", "--editors", "ft,grace", "--datasets", "zsre", "--edits", "1", "--limit", "1"]
    run += ["--executor", "slurm", "--slurm-workers", "2", "--slurm-option", "account=lab"]
    assert main([*run, "--detach", "--out", "out"]) == 0
    said = capsys.readouterr().out
    assert "submitted: 2 cells to Slurm, jobs 17_0, 17_1" in said
    assert "python -m bench tables" in said
    assert "the same command without --detach" in said
    assert "#SBATCH --account=lab" in slurm.read_text()
    assert len(list((tmp_path / "slurm").glob("17_*_submitted.pkl"))) == 2
    assert list((tmp_path / "out").iterdir()) == []


def test_there_are_no_more_workers_than_cells(slurm: Path, tmp_path: Path, out: Path) -> None:
    executor = SlurmExecutor(config(tmp_path, slurm_workers=9))
    (submitted,) = executor.submit([job(tmp_path / "marks", 0)], site_of(out))
    assert submitted == "17"
    assert "--array" not in slurm.read_text()


def test_what_slurm_refuses_is_said(slurm: Path, tmp_path: Path, out: Path) -> None:
    (slurm.parent / "commands" / "sbatch").write_text("#!/bin/sh\necho no such account >&2\nexit 1")
    executor = SlurmExecutor(config(tmp_path))
    with pytest.raises(OSError, match=r"Slurm took no job: .*no such account"):
        executor.submit([job(tmp_path / "marks", 0)], site_of(out))
