"""Leases of cells: one holder, renewals, and cells reclaimed from crashed processes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from bench.core.files import UnwritableError
from bench.store.running import Lease, Leases
from tests.cli.commands import raising
from tests.runner.test_progress import Clock
from tests.support.source import ROOT

KEY = "a" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "records" / "claims"


def foreign(folder: Path, **changes: Any) -> Path:
    """A lease as a process on another machine would write it."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"host": "elsewhere", "machine": "boot 1", "pid": 1, "process_started": 1, "token": "t"}
    path = folder / f"{KEY}.json"
    path.write_text(json.dumps(facts | changes))
    return path


def own_facts(folder: Path) -> dict[str, Any]:
    """What a lease of this process holds."""
    with held(Leases(folder).acquire(KEY)):
        facts: dict[str, Any] = json.loads((folder / f"{KEY}.json").read_text())
    return facts


def held(lease: Lease | None) -> Lease:
    assert lease is not None
    return lease


def test_one_process_holds_a_cell_and_nothing_is_left(folder: Path) -> None:
    leases, others = Leases(folder), Leases(folder)
    with held(leases.acquire(KEY)) as lease:
        assert others.acquire(KEY) is None
        assert not others.is_stale(KEY)
        assert others.held() == [KEY]
        assert str(os.getpid()) in others.holder(KEY)
        assert not lease.is_lost()
    assert not folder.exists()
    held(others.acquire(KEY)).release()
    assert not folder.exists()


def test_a_folder_that_goes_while_it_is_read_holds_no_lease(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "glob", raising(FileNotFoundError()))
    assert Leases(folder).held() == []


def test_a_thread_gives_signs_of_life_in_place(folder: Path) -> None:
    path = folder / f"{KEY}.json"
    with held(Leases(folder, every=0.02).acquire(KEY)):
        first, node = path.read_bytes(), path.stat().st_ino
        until = time.monotonic() + 10
        while path.read_bytes() == first and time.monotonic() < until:
            time.sleep(0.01)
        later = path.read_bytes()
        assert later != first
        assert len(later) == len(first)
        assert path.stat().st_ino == node
    names = {thread.name for thread in threading.enumerate()}
    assert not any(name.startswith("lease ") for name in names)


def test_silence_is_measured_by_the_observers_own_clock(folder: Path) -> None:
    path, clock = foreign(folder), Clock()
    leases = Leases(folder, clock=clock)
    os.utime(path, (0, 0))  # a clock of 1970 says nothing
    assert leases.acquire(KEY) is None
    clock.now = 59
    assert leases.acquire(KEY) is None
    clock.now = 60
    with held(leases.acquire(KEY)) as lease:
        assert not lease.is_lost()
        assert sorted(folder.iterdir()) == [path]
    assert not folder.exists()


@pytest.mark.parametrize("sign", ["content", "time"])
def test_every_change_is_a_sign_of_life(folder: Path, sign: str) -> None:
    path, clock = foreign(folder), Clock()
    leases = Leases(folder, clock=clock)
    assert leases.acquire(KEY) is None
    for number in range(1, 5):
        clock.now += 50
        if sign == "content":
            foreign(folder, beat=number)
        else:
            os.utime(path, (0, 1000 - number))  # a clock that goes backwards
        assert leases.acquire(KEY) is None
    clock.now += 60
    held(leases.acquire(KEY)).release()


@pytest.mark.parametrize(
    "changes", [{"pid": "1"}, {"pid": True}, {"pid": -1}, {"pid": 2**70}, {"machine": None}]
)
def test_odd_leases_are_taken_for_living_ones(folder: Path, changes: dict[str, Any]) -> None:
    path = foreign(folder, **own_facts(folder) | changes)
    assert Leases(folder).acquire(KEY) is None
    path.write_text("")  # of a process that is writing it
    assert Leases(folder).acquire(KEY) is None


def test_a_process_of_this_machine_that_has_ended_is_known_at_once(folder: Path) -> None:
    this, leases = own_facts(folder), Leases(folder)
    assert set(this) == {
        *("host", "machine", "pid", "process_started", "token", "started", "beat"),
        *("edits", "earlier"),
    }
    foreign(folder, **this)
    assert not leases.is_stale(KEY)
    assert leases.is_here(KEY)
    foreign(folder, **this | {"machine": "another", "process_started": 1})
    assert not leases.is_stale(KEY)
    assert not leases.is_here(KEY)
    foreign(folder, **this | {"process_started": this["process_started"] - 1})
    assert leases.is_stale(KEY)  # its number was given again
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    foreign(folder, **this | {"pid": int(done.stdout)})
    assert not leases.is_here(KEY)
    held(leases.acquire(KEY)).release()


def stale(leases: Leases, clock: Clock, folder: Path) -> bytes:
    """The content of a lease that has been silent for too long, as seen by this observer."""
    path = foreign(folder)
    assert leases.acquire(KEY) is None
    clock.now += 100
    content = leases._stale(path)
    assert content is not None
    return content


def test_who_looked_before_the_take_over_does_not_take_it_again(folder: Path) -> None:
    clock = Clock()
    quick, slow = Leases(folder, clock=clock), Leases(folder, clock=clock)
    content = stale(slow, clock, folder)
    stale(quick, clock, folder)
    with held(quick.acquire(KEY)) as lease:
        assert not slow._take_away(folder / f"{KEY}.json", content)
        assert not lease.is_lost()


def test_a_taker_that_was_killed_does_not_block_the_cell(folder: Path) -> None:
    clock = Clock()
    leases = Leases(folder, clock=clock)
    digest = hashlib.sha256(stale(leases, clock, folder)).hexdigest()
    (folder / f"{KEY}.{digest[:16]}.taken").touch()
    assert leases.acquire(KEY) is None
    clock.now += 100
    assert leases.acquire(KEY) is None
    held(leases.acquire(KEY)).release()


def test_who_was_taken_for_ended_notices_and_leaves_the_lease_of_the_other(folder: Path) -> None:
    clock = Clock()
    sleeper, other = Leases(folder, every=1000), Leases(folder, clock=clock)
    lease = held(sleeper.acquire(KEY))
    assert other.acquire(KEY) is None
    clock.now = 60
    taken = held(other.acquire(KEY))
    assert lease.is_lost()
    lease._write()  # it wakes up
    assert not taken.is_lost()
    lease.release()
    assert not taken.is_lost()
    assert sleeper.acquire(KEY) is None
    taken.release()
    assert not folder.exists()


@pytest.mark.parametrize("number", [30, 13, 28])
def test_a_folder_that_takes_no_lease_is_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refuse = raising(OSError(number, os.strerror(number)))
    monkeypatch.setattr(os, "open" if number != 28 else "write", refuse)
    with pytest.raises(UnwritableError, match=os.strerror(number)):
        Leases(folder).acquire(KEY)
    monkeypatch.undo()
    assert not folder.exists()


# Leases one cell again and again; who holds it alone may make a file of a fixed name. Some of
# them die while they hold the cell.
RIVAL = """
import os, random, signal, sys, time
from pathlib import Path
from bench.store.running import Leases
folder, number = Path(sys.argv[1]), int(sys.argv[2])
leases, draw, held = Leases(folder / "claims"), random.Random(number), 0
end = time.monotonic() + 3
while time.monotonic() < end:
    lease = leases.acquire("a" * 64)
    if lease is None:
        time.sleep(draw.random() / 1000)
        continue
    inside = folder / "inside"
    try:
        os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        sys.exit("two processes hold one cell")
    time.sleep(draw.random() / 1000)
    inside.unlink()
    with (folder / "log").open("a") as log:
        log.write(f"{number}\\n")
    held += 1
    if number < 4 and held == 3 * (number + 1):
        os.kill(os.getpid(), signal.SIGKILL)
    lease.release()
"""


def test_of_many_processes_that_die_while_they_hold_it_one_has_the_cell(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RIVAL, str(tmp_path)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    rivals = [
        subprocess.Popen([*command, str(number)], env=env, stderr=subprocess.PIPE, text=True)
        for number in range(6)
    ]
    errors = [rival.communicate(timeout=60)[1] for rival in rivals]
    assert errors == [""] * 6
    codes = [rival.returncode for rival in rivals]
    assert set(codes) <= {0, -signal.SIGKILL}
    assert -signal.SIGKILL in codes
    holders = (tmp_path / "log").read_text().split()
    assert len(set(holders)) > 1
    held(Leases(tmp_path / "claims").acquire(KEY)).release()


def test_a_lease_is_never_there_without_its_content(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[bytes]] = []
    write = os.fsync

    def look(descriptor: int) -> None:
        seen.append([path.read_bytes() for path in folder.glob("*.json")])
        write(descriptor)

    monkeypatch.setattr("bench.store.running.os.fsync", look)
    held(Leases(folder).acquire(KEY)).release()
    assert seen == [[]]  # it got its name after that
    assert not folder.exists()


def test_without_hard_links_one_process_alone_gets_a_lease(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse = raising(OSError(errno.EPERM, "no links here"))
    monkeypatch.setattr("bench.store.running.os.link", refuse)
    lease = held(Leases(folder).acquire(KEY))
    assert Leases(folder).acquire(KEY) is None
    assert b"token" in (folder / f"{KEY}.json").read_bytes()
    lease.release()
    assert not folder.exists()
