"""Several runs of one grid, some of which are killed, and clocks that jump meanwhile."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli.main import main
from tests.faults import clocks
from tests.faults.crowd import ended, forked_run, written
from tests.faults.grid import Home, assert_tidy, results
from tests.faults.tally import Count, SilentError

pytestmark = pytest.mark.faults

EDITORS = ("ft", "rome", "grace")
ROUNDS = 5
KILLED = 2


def assert_whole(home: Home, out: Path, log: Path) -> None:
    """All cells are there, each was written once, and the tables are those of one process."""
    keys = written(log)
    if len(set(keys)) < len(keys):
        raise SilentError(f"a cell was computed twice: {keys}")
    found = results(out)
    assert found == {
        key: one for key, one in home.whole.items() if one["cell"]["editor"] in EDITORS
    }
    assert sorted(found) == sorted(keys)
    for suffix in ("csv", "md"):
        table = (out / "tables" / f"table1.{suffix}").read_bytes()
        assert table == (alone(home) / f"table1.{suffix}").read_bytes()
    assert_tidy(out)


def alone(home: Home) -> Path:
    """The tables of a run that nothing happened to."""
    out = home.directory / "alone"
    if not out.exists():
        assert main(home.arguments(out, EDITORS)) == 0
    return out / "tables"


@pytest.mark.parametrize("processes", [2, 4])
def test_crowds_of_which_two_are_killed(
    processes: int,
    home: Home,
    tally: defaultdict[str, Count],
    chance: random.Random,
    tmp_path: Path,
) -> None:
    count = tally["concurrent"]
    alone(home)
    for number in range(ROUNDS):
        out, log = tmp_path / f"out-{number}", tmp_path / f"log-{number}"
        arguments = home.arguments(out, EDITORS)
        children = [forked_run(arguments, log) for _ in range(processes)]
        for child in children[:KILLED]:
            time.sleep(chance.uniform(0, 0.5 * processes))
            os.kill(child, signal.SIGKILL)
        killed = [ended(child) for child in children[:KILLED]]
        with count.trying(f"{killed} of {processes} forked runs, round {number}"):
            assert [ended(child) for child in children[KILLED:]] == [0] * (processes - KILLED)
            if processes == KILLED:
                assert ended(forked_run(arguments, log)) == 0
            assert_whole(home, out, log)
    count.settle(ROUNDS)


@pytest.mark.parametrize("processes", [2, 4])
def test_crowds_of_whole_processes(
    processes: int,
    home: Home,
    tally: defaultdict[str, Count],
    chance: random.Random,
    tmp_path: Path,
) -> None:
    count, out, log = tally["concurrent"], tmp_path / "out", tmp_path / "log"
    alone(home)
    command = [sys.executable, "-m", "tests.faults.crowd", str(log)]
    command += home.arguments(out, EDITORS)
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    runs = [
        subprocess.Popen(command, env=environment, stdout=-3, stderr=-3) for _ in range(processes)
    ]
    while not list((out / "claims").glob("*.json")):
        assert runs[0].poll() is None
        time.sleep(0.01)
    for one in runs[:KILLED]:
        time.sleep(chance.uniform(0, 1))
        one.kill()
    with count.trying(f"two of {processes} processes"):
        for one in runs[:KILLED]:
            one.wait()
        assert [one.wait(timeout=200) for one in runs[KILLED:]] == [0] * (processes - KILLED)
        if processes == KILLED:
            assert ended(forked_run(home.arguments(out, EDITORS), log)) == 0
        assert_whole(home, out, log)
    count.settle(1)


@pytest.mark.parametrize("kind", ["backwards", "wild", "ahead"])
def test_clocks_that_jump(
    kind: str,
    home: Home,
    tally: defaultdict[str, Count],
    chance: random.Random,
    tmp_path: Path,
) -> None:
    count = tally["clock"]
    alone(home)
    jumps: dict[str, Callable[[], clocks.Jump]] = {
        "backwards": clocks.backwards,
        "wild": lambda: clocks.wild(chance),
        "ahead": clocks.ahead,
    }
    for number in range(ROUNDS):
        out, log = tmp_path / f"out-{number}", tmp_path / f"log-{number}"
        arguments = home.arguments(out, EDITORS)
        jump = jumps[kind]()
        children = [forked_run(arguments, log, one) for one in (jump, None)]
        end = time.monotonic() + chance.uniform(0.2, 1.5)
        while time.monotonic() < end:
            clocks.disturb(out / "claims", chance)
            clocks.disturb(out / "checkpoints", chance)
            time.sleep(0.02)
        os.kill(children[number % 2], signal.SIGKILL)
        ended(children[number % 2])
        with count.trying(f"a clock that goes {kind}, round {number}"):
            assert ended(children[1 - number % 2]) == 0
            assert_whole(home, out, log)
    count.settle(ROUNDS)
