"""The suite's tally and seed, its summary, and a home folder with a model, data and weights."""

from __future__ import annotations

import os
import random
import secrets
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from transformers.utils import logging

from tests.faults.grid import Home, create_home
from tests.faults.tally import Count

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


@pytest.fixture(scope="session")
def tally(pytestconfig: pytest.Config) -> defaultdict[str, Count]:
    """By the class of faults, in the order in which they are tried."""
    return pytestconfig.stash[_tally]


@pytest.fixture
def count(request: pytest.FixtureRequest, tally: defaultdict[str, Count]) -> Count:
    """Of the class of faults that the test's module names."""
    name: str = request.module.FAULTS
    return tally[name]


@pytest.fixture
def chance(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> random.Random:
    """Random instants and places, the same for a test whichever others are run."""
    return random.Random(f"{pytestconfig.stash[_seed]} {request.node.name}")  # noqa: S311


@pytest.fixture(scope="session", autouse=True)
def quiet_libraries() -> None:
    """As a process of its own configures them when they are first imported."""
    logging.disable_progress_bar()
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return create_home(tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
def at_home(home: Home, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs start in the home folder, which has their trained weights and caches."""
    monkeypatch.chdir(home.directory)
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(home.cache))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return home.directory
