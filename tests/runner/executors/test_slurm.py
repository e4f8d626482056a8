"""Workers that submitit starts: on this machine with its local engine, and what Slurm would get."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.core.config import RunConfig
from bench.core.progress import StopFlag
from bench.evaluation.jobs import Job
from bench.runner import worker as serving
from bench.runner.executors import slurm_jobs as module
from bench.runner.executors.base import Finished, Outcome, Site
from bench.runner.executors.slurm_jobs import Pull, SlurmExecutor, written_at, written_since
from bench.runner.run import site_of
from bench.store.results import ResultStore, mark_of
from tests.cli.commands import Cli
from tests.runner.executors.marking_jobs import MarkingJob, job, process_of, states, tries, wait_for

pytest.importorskip("submitit", reason="the extra slurm is not installed")
from submitit.core.job_environment import JobEnvironment

USR = getattr(signal, f"SIG{JobEnvironment.USR_SIG}")  # what comes before the end of a job


def config(folder: Path, **options: Any) -> RunConfig:
    return RunConfig(executor="slurm", slurm_folder=folder / "folder", **options)


@pytest.mark.slow
def test_a_worker_that_is_ended_is_queued_again_and_goes_on(
    tmp_path: Path, marks: Path, out: Path
) -> None:
    failing, first = job(marks, 3, fails=True), job(marks, 2)
    cut, last = job(marks, 1, seconds=1.0), job(marks, 0)
    executor = SlurmExecutor(config(tmp_path, slurm_cluster="local"))

    def end() -> None:
        os.kill(wait_for(marks / "1-0"), USR)

    ender = threading.Thread(target=end)
    ender.start()
    running = executor.run([failing, first, cut, last], site_of(out), StopFlag())
    finished = {end.key: end for end in running}
    ender.join()
    assert states(out) == {3: "failed", 2: "complete", 1: "complete", 0: "complete"}
    failure = finished.pop(failing.cell.key())
    assert (failure.outcome, failure.error) == ("failed", "RuntimeError: no such luck")
    assert len(finished) == 3
    assert {(end.outcome, end.error) for end in finished.values()} == {("done", None)}
    log = "".join(path.read_text() for path in (tmp_path / "folder").glob("*_log.*"))
    assert "this job is preempted" in log
    assert log.count("Requeued job") == 1
    # The one that was cut had time to end, and the one that failed is not tried in vain again.
    assert [len(tries(each)) for each in (failing, first, cut, last)] == [1, 1, 1, 1]
    assert process_of(tries(last)[0]) != process_of(tries(first)[0])


@pytest.mark.slow
def test_a_worker_that_breaks_is_named_with_its_log(tmp_path: Path, marks: Path, out: Path) -> None:
    killing, fine = job(marks, 1, deaths=9), job(marks, 2)
    executor = SlurmExecutor(config(tmp_path, slurm_cluster="local"))
    running = executor.run([fine, killing], site_of(out), StopFlag())
    assert next(running).key == fine.cell.key()
    with pytest.raises(OSError, match=r"1 cells are left: job [0-9]+ ended with .*_log\.err"):
        next(running)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for Slurm's commands: sbatch stores what it is given and numbers it 17."""
    commands = tmp_path / "commands"
    commands.mkdir()
    stored = tmp_path / "sbatch.sh"
    for name in ("srun", "sbatch", "sacct"):
        body = f'cp "$1" {stored}\necho Submitted batch job 17' if name == "sbatch" else "exit 0"
        (commands / name).write_text(f"#!/bin/sh\n{body}\n")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    return stored


def test_slurm_gets_what_was_asked_for(
    slurm: Path, tmp_path: Path, jobs: list[MarkingJob], out: Path
) -> None:
    wanted = config(
        tmp_path,
        slurm_workers=2,
        slurm_time=90,
        slurm_partition="gpu",
        slurm_gpus=1,
        slurm_option={"account": "lab", "signal-delay-s": 120, "licenses": "a:1"},
    )
    submitted = SlurmExecutor(wanted).submit(jobs, site_of(out))
    assert submitted == ["17_0", "17_1"]
    lines = {line.removeprefix("#SBATCH --") for line in slurm.read_text().splitlines()}
    assert {
        *("array=0-1%2", "time=90", "partition=gpu", "gpus-per-node=1", "cpus-per-task=1"),
        *("ntasks-per-node=1", "account=lab", "licenses=a:1", "signal=USR2@120"),
    } <= lines
    assert list(out.iterdir()) == []  # it returned at once


def test_detached_the_command_returns_and_says_how_to_go_on(
    slurm: Path, tmp_path: Path, cli: Cli
) -> None:
    run = ["run", "--editors", "ft,grace", "--datasets", "zsre", "--edits", "1", "--limit", "1"]
    run += ["--executor", "slurm", "--slurm-workers", "2", "--slurm-option", "account=lab"]
    said = cli(*run, "--detach", "--out", "out")
    assert said.code == 0
    assert "submitted: 2 cells to Slurm, jobs 17_0, 17_1" in said.out
    assert "python -m bench tables" in said.out
    assert "the same command without --detach" in said.out
    assert "#SBATCH --account=lab" in slurm.read_text()
    assert len(list((tmp_path / "slurm").glob("17_*_submitted.pkl"))) == 2
    assert list((tmp_path / "out").iterdir()) == []


def test_there_are_no_more_workers_than_cells_and_what_slurm_refuses_is_reported(
    slurm: Path, tmp_path: Path, jobs: list[MarkingJob], out: Path
) -> None:
    executor = SlurmExecutor(config(tmp_path, slurm_workers=9))
    assert executor.submit(jobs[:1], site_of(out)) == ["17"]
    assert "--array" not in slurm.read_text()
    (slurm.parent / "commands" / "sbatch").write_text("#!/bin/sh\necho no such account >&2\nexit 1")
    with pytest.raises(OSError, match=r"Slurm took no job: .*no such account"):
        executor.submit(jobs[:1], site_of(out))


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this process had served nobody."""
    monkeypatch.setattr(serving, "_serving", {})


@pytest.fixture
def site(out: Path, tmp_path: Path) -> Site:
    return Site(records=out, working=tmp_path)


@pytest.fixture
def jobs(marks: Path) -> list[MarkingJob]:
    return [job(marks, seed) for seed in range(3)]


def test_everything_is_taken_once_failures_too(site: Site, jobs: list[MarkingJob]) -> None:
    failing = job(jobs[0].marks, 3, fails=True)
    Pull(jobs=[*jobs, failing], site=site)()
    assert states(site.records) == {0: "complete", 1: "complete", 2: "complete", 3: "failed"}
    old = ResultStore(site.records).read(jobs[0].cell.key())
    assert old is not None
    again = replace(jobs[0], replaces=mark_of(old))
    for _ in range(2):  # a worker that is queued again has the same list
        Pull(jobs=[again, *jobs[1:], failing], site=site)()
        assert [len(tries(each)) for each in (*jobs, failing)] == [2, 1, 1, 1]


def test_stamps_show_what_was_written_since(site: Site, jobs: list[MarkingJob]) -> None:
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
    """By a worker that only reports what became of a cell."""
    outcomes: list[Outcome] = ["done", "elsewhere", "elsewhere", "elsewhere", "found", "done"]

    def answer(job: Job) -> Finished:
        facts = {"key": job.cell.key(), "name": "", "edits": 0, "seconds": 0.0, "error": None}
        return Finished(**facts, outcome=outcomes.pop(0))  # type: ignore[arg-type]

    monkeypatch.setattr(module, "PAUSE", 0.01)
    monkeypatch.setattr(serving, "worker_at", lambda *_: SimpleNamespace(run=answer))
    Pull(jobs=jobs, site=site, patience=60.0)()
    assert outcomes == []
    outcomes.extend(["elsewhere"] * 10_000)
    start = time.monotonic()
    Pull(jobs=jobs, site=site, patience=0.2)()
    assert 0.2 <= time.monotonic() - start < 10
    assert 0 < len(outcomes) < 10_000


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
    heeds: bool, site: Site, marks: Path
) -> None:
    jobs = [job(marks, seed, seconds=0.5, heeds=heeds) for seed in range(2)]
    pull = Pull(jobs=jobs, site=site)
    runner = threading.Thread(target=pull)
    runner.start()
    wait_for(marks / "0-0")
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
