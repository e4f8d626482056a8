"""Parallel runs of one grid, some of which are killed, and clocks that jump meanwhile."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.runner import run
from bench.store.results import ResultStore
from tests.faults.grid import Home, SilentError, Trial, assert_tidy, results

Jump = Callable[[], float]  # seconds that are added to the clock at this moment


def backwards() -> Jump:
    """Each second takes the clock two seconds back."""
    start = time.monotonic()
    return lambda: -2 * (time.monotonic() - start)


def wild(chance: random.Random) -> Jump:
    """A random time within decades, each time another."""
    return lambda: chance.uniform(-1e9, 1e9)


def ahead() -> Jump:
    """A clock that is a day fast."""
    return lambda: 86_400.0


@contextmanager
def jumping(jump: Jump | None) -> Iterator[None]:
    """While the clock of this process jumps."""
    real = time.time
    if jump is not None:
        time.time = lambda: real() + jump()
    try:
        yield
    finally:
        time.time = real


def disturb(folder: Path, chance: random.Random) -> None:
    """Change the times of the files of a folder, as a server whose clock is set does."""
    for path in folder.glob("*"):
        moment = time.time() + chance.uniform(-1e6, 1e6)
        with contextlib.suppress(OSError):
            os.utime(path, (moment, moment))


def log_records(log: Path) -> None:
    """Let this process log each record that it writes."""
    put = ResultStore.put

    def logged(self: ResultStore, key: str, content: bytes) -> Path:
        path = put(self, key, content)
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{key} {os.getpid()}\n")
        return path

    ResultStore.put = logged  # type: ignore[method-assign]


def written(log: Path) -> list[str]:
    """The keys of all records that were written, in order."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [line.split()[0] for line in lines]


def forked(work: Callable[[], int]) -> int:
    """The id of a process that works with what is loaded here, and ends with what that returns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
        child = os.fork()
    if child:
        return child
    code = 99
    try:
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            sys.stdout = sys.stderr = nowhere
            code = work()
    finally:
        os._exit(code)


def forked_run(arguments: Sequence[str], log: Path, jump: Jump | None = None) -> int:
    """The id of a process that runs a command."""

    def work() -> int:
        log_records(log)
        run.EVERY = 0.05
        with jumping(jump):
            return main(arguments)

    return forked(work)


def ended(child: int, seconds: float = 120.0) -> int:
    """The exit code of a process.

    Raises:
        TimeoutError: it did not end.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    raise TimeoutError(f"Process {child} did not end in {seconds} s.")


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
    jumps: dict[str, Callable[[], Jump]] = {
        "backwards": backwards,
        "wild": lambda: wild(trial.chance),
        "ahead": ahead,
    }
    for number in range(ROUNDS):
        out, log = trial.folder / f"out-{number}", trial.folder / f"log-{number}"
        arguments = trial.home.arguments(out, EDITORS)
        children = [forked_run(arguments, log, jump) for jump in (jumps[kind](), None)]
        end = time.monotonic() + trial.chance.uniform(0.2, 1.5)
        while time.monotonic() < end:
            disturb(out / "claims", trial.chance)
            disturb(out / "checkpoints", trial.chance)
            time.sleep(0.02)
        os.kill(children[number % 2], signal.SIGKILL)
        ended(children[number % 2])
        with count.trying(f"a clock that goes {kind}, round {number}"):
            assert ended(children[1 - number % 2]) == 0
            assert_whole(trial.home, out, log)
    count.settle(ROUNDS)
