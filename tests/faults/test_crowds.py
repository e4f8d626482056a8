"""Parallel runs of one grid, some of which are killed, and clocks that jump meanwhile."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli.main import main
from tests.faults import crowd
from tests.faults.crowd import ended, forked_run, written
from tests.faults.grid import Home, SilentError, Trial, assert_tidy, results

pytestmark = pytest.mark.faults

FAULTS = "concurrent"
EDITORS = ("ft", "rome", "grace")
ROUNDS = 5
KILLED = 2


@pytest.fixture(autouse=True)
def undisturbed(home: Home) -> Path:
    """The output of a run alone, computed once."""
    out = home.directory / "alone"
    if not out.exists():
        assert main(home.arguments(out, EDITORS)) == 0
    return out


def assert_whole(home: Home, out: Path, log: Path) -> None:
    """Each cell was written once, and records and tables are those of one process."""
    keys = written(log)
    if len(set(keys)) < len(keys):
        raise SilentError(f"a cell was computed twice: {keys}")
    records = results(out)
    assert records == {k: r for k, r in home.whole.items() if r["cell"]["editor"] in EDITORS}
    assert sorted(records) == sorted(keys)
    for name in ("table1.csv", "table1.md"):
        alone = home.directory / "alone" / "tables" / name
        assert (out / "tables" / name).read_bytes() == alone.read_bytes()
    assert_tidy(out)


@pytest.mark.parametrize("processes", [2, 4])
def test_crowds_of_which_two_are_killed(processes: int, trial: Trial) -> None:
    for number in range(ROUNDS):
        out, log = trial.folder / f"out-{number}", trial.folder / f"log-{number}"
        arguments = trial.home.arguments(out, EDITORS)
        children = [forked_run(arguments, log) for _ in range(processes)]
        for child in children[:KILLED]:
            time.sleep(trial.chance.uniform(0, 0.5 * processes))
            os.kill(child, signal.SIGKILL)
        killed = [ended(child) for child in children[:KILLED]]
        with trial.count.trying(f"{killed} of {processes} forked runs, round {number}"):
            assert [ended(child) for child in children[KILLED:]] == [0] * (processes - KILLED)
            if processes == KILLED:
                assert ended(forked_run(arguments, log)) == 0
            assert_whole(trial.home, out, log)
    trial.count.settle(ROUNDS)


@pytest.mark.parametrize("kind", ["backwards", "wild", "ahead"])
def test_clocks_that_jump(kind: str, trial: Trial) -> None:
    count = trial.tally["clock"]
    jumps: dict[str, Callable[[], crowd.Jump]] = {
        "backwards": crowd.backwards,
        "wild": lambda: crowd.wild(trial.chance),
        "ahead": crowd.ahead,
    }
    for number in range(ROUNDS):
        out, log = trial.folder / f"out-{number}", trial.folder / f"log-{number}"
        arguments = trial.home.arguments(out, EDITORS)
        children = [forked_run(arguments, log, jump) for jump in (jumps[kind](), None)]
        end = time.monotonic() + trial.chance.uniform(0.2, 1.5)
        while time.monotonic() < end:
            crowd.disturb(out / "claims", trial.chance)
            crowd.disturb(out / "checkpoints", trial.chance)
            time.sleep(0.02)
        os.kill(children[number % 2], signal.SIGKILL)
        ended(children[number % 2])
        with count.trying(f"a clock that goes {kind}, round {number}"):
            assert ended(children[1 - number % 2]) == 0
            assert_whole(trial.home, out, log)
    count.settle(ROUNDS)
