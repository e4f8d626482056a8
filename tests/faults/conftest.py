"""The suite's tally and seed, its summary, and a home folder with a model, data and weights."""

from __future__ import annotations

import os
import random
import secrets
from collections import defaultdict
from pathlib import Path

import pytest
import torch

from tests.faults.grid import Count, Home, Trial, create_home

SEED = "EDIT_BENCH_FAULT_SEED"
_tally = pytest.StashKey[defaultdict[str, Count]]()
_seed = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_tally] = defaultdict(Count)
    config.stash[_seed] = int(os.environ.get(SEED) or secrets.randbelow(10**6))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    counts = config.stash[_tally]
    if not counts:
        return
    terminalreporter.section("faults")
    terminalreporter.line(f"seed of instants and places: {config.stash[_seed]} ({SEED} sets it)")
    for name, count in counts.items():
        terminalreporter.line(count.line(name))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return create_home(tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
def trial(
    request: pytest.FixtureRequest,
    home: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Trial:
    """Runs start in the home folder, which has their trained weights and caches."""
    monkeypatch.chdir(home.directory)
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(home.cache))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    tally, seed = request.config.stash[_tally], request.config.stash[_seed]
    return Trial(
        home=home,
        folder=tmp_path,
        tally=tally,
        count=tally[request.module.FAULTS],
        chance=random.Random(f"{seed} {request.node.name}"),  # noqa: S311
        patch=monkeypatch,
        capsys=capsys,
    )
