"""Options that choose an executor, and what is asked of Ray without starting it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.core.config import RunConfig
from bench.runner.executors import ray_cluster
from bench.runner.executors.ray_cluster import RayExecutor
from tests.cli.commands import Cli, Refused
from tests.runner.executors.marking_jobs import job

RUN = ("run", "--table", "1", "--editors", "ft", "--datasets", "zsre", "--edits", "1")


@pytest.mark.parametrize(("extra", "library"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_library_names_its_extra(
    extra: str, library: str, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    monkeypatch.setattr("bench.runner.executors.base.find_spec", lambda _: None)
    assert refused(*RUN, "--executor", extra) == (
        f"error: --executor {extra} needs {library}, which is not installed: "
        f"pip install '.[{extra}]' adds it.\n"
    )


def test_without_slurm_nothing_runs_here_instead(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = cli(*RUN, "--limit", "1", "--executor", "slurm", "--out", "out")
    assert said.code == 2
    assert "srun" in said.err
    assert list((tmp_path / "out").iterdir()) == []


def test_only_cells_on_a_gpu_take_one(tmp_path: Path) -> None:
    on_cpu = job(tmp_path / "marks", 0)
    executor = RayExecutor(RunConfig(executor="ray", gpus_per_cell=0.5))
    assert executor._gpus(on_cpu) == 0
    assert executor._gpus(replace(on_cpu, device="cuda")) == 0.5


def test_a_ray_of_our_own_reports_nothing_and_a_cluster_has_its_own_resources(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    own = RayExecutor(RunConfig(executor="ray", jobs=3))._options()
    assert own["num_cpus"] == 3
    assert own["include_dashboard"] is False
    assert own["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] == "1"
    assert own["runtime_env"]["env_vars"]["HF_HUB_OFFLINE"] == "1"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert "num_cpus" not in RayExecutor(RunConfig(executor="ray", jobs=3))._options()


def test_a_process_that_is_lent_another_gpu_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(ray_cluster, "_gpu", [])
    monkeypatch.setattr(os, "kill", lambda number, _: ended.append(number))
    for lent in ("", "", "0", "0"):  # cells on the CPU may come before
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", lent)
        ray_cluster._stay_on_gpu()
    assert ended == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    ray_cluster._stay_on_gpu()
    assert ended == [os.getpid()]


def test_engines_are_imported_only_when_they_run() -> None:
    names = "bench.cli.run, bench.runner.run, bench.runner.executors.local, "
    names += "bench.runner.executors.ray_cluster, bench.runner.executors.slurm_jobs"
    code = f"import sys, {names}; print({{'ray', 'submitit', 'torch'}} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
