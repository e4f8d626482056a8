"""Claims of cells: one holder, signs of life, and what becomes of those of the dead."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.core.files import UnwritableError
from bench.core.processes import is_gone, this_process
from bench.store.lease import Claim
from bench.store.leases import CellClaims
from tests.support.source import ROOT

KEY = "a" * 64


class Clock:
    """Seconds of one observer."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "records" / "claims"


def foreign(folder: Path, **changes: Any) -> Path:
    """A claim as a process on another machine would make it."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"host": "elsewhere", "machine": "boot 1", "pid": 1, "process_started": 1, "token": "t"}
    path = folder / f"{KEY}.json"
    path.write_text(json.dumps(facts | changes))
    return path


def held(claim: Claim | None) -> Claim:
    assert claim is not None
    return claim


def test_one_process_holds_a_cell_and_nothing_stays_behind(folder: Path) -> None:
    claims, others = CellClaims(folder), CellClaims(folder)
    with held(claims.claim(KEY)) as claim:
        assert others.claim(KEY) is None
        assert not others.is_stale(KEY)
        assert others.claimed() == [KEY]
        assert str(os.getpid()) in others.holder(KEY)
        assert not claim.is_lost()
    assert not folder.exists()
    held(others.claim(KEY)).release()
    assert not folder.exists()


def test_a_claim_says_who_and_since_when(folder: Path) -> None:
    with held(CellClaims(folder).claim(KEY)):
        facts = json.loads((folder / f"{KEY}.json").read_text())
    assert set(facts) == {
        *("host", "machine", "pid", "process_started", "token", "started", "beat"),
        *("edits", "earlier"),
    }
    assert facts["pid"] == os.getpid()


def test_a_folder_that_goes_while_it_is_read_holds_no_claim(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> Any:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "glob", gone)
    assert CellClaims(folder).claimed() == []


def test_a_thread_gives_signs_of_life_in_place(folder: Path) -> None:
    path = folder / f"{KEY}.json"
    with held(CellClaims(folder, every=0.02).claim(KEY)):
        first, node = path.read_bytes(), path.stat().st_ino
        until = time.monotonic() + 10
        while path.read_bytes() == first and time.monotonic() < until:
            time.sleep(0.01)
        later = path.read_bytes()
        assert later != first
        assert len(later) == len(first)
        assert path.stat().st_ino == node
    names = {thread.name for thread in threading.enumerate()}
    assert not any(name.startswith("claim ") for name in names)


def test_silence_is_measured_by_the_observers_own_clock(folder: Path) -> None:
    path, clock = foreign(folder), Clock()
    claims = CellClaims(folder, clock=clock)
    os.utime(path, (0, 0))  # a clock of 1970 says nothing
    assert claims.claim(KEY) is None
    clock.now = 59
    assert claims.claim(KEY) is None
    clock.now = 60
    with held(claims.claim(KEY)) as claim:
        assert not claim.is_lost()
        assert sorted(folder.iterdir()) == [path]
    assert not folder.exists()


@pytest.mark.parametrize("sign", ["content", "time"])
def test_every_change_is_a_sign_of_life(folder: Path, sign: str) -> None:
    path, clock = foreign(folder), Clock()
    claims = CellClaims(folder, clock=clock)
    assert claims.claim(KEY) is None
    for number in range(1, 5):
        clock.now += 50
        if sign == "content":
            foreign(folder, beat=number)
        else:
            os.utime(path, (0, 1000 - number))  # a clock that goes backwards
        assert claims.claim(KEY) is None
    clock.now += 60
    held(claims.claim(KEY)).release()


def test_a_claim_that_is_still_empty_is_one(folder: Path) -> None:
    foreign(folder).write_text("")
    assert CellClaims(folder).claim(KEY) is None


@pytest.mark.parametrize(
    "changes", [{"pid": "1"}, {"pid": True}, {"pid": -1}, {"pid": 2**70}, {"machine": None}]
)
def test_odd_claims_are_taken_for_living_ones(folder: Path, changes: dict[str, Any]) -> None:
    foreign(folder, **{"machine": this_process().machine, **changes})
    assert CellClaims(folder).claim(KEY) is None


def test_a_process_of_this_machine_that_is_gone_is_known_at_once(folder: Path) -> None:
    this = this_process()
    assert not is_gone(this)
    assert is_gone(replace(this, started=this.started - 1))  # its number was given again
    assert not is_gone(replace(this, machine="another", started=1))
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    dead = replace(this, pid=int(done.stdout))
    assert is_gone(dead)
    foreign(folder, machine=dead.machine, pid=dead.pid, process_started=dead.started)
    held(CellClaims(folder).claim(KEY)).release()


def test_of_several_takers_one_wins(folder: Path) -> None:
    for _ in range(20):
        foreign(folder)
        clock = Clock()
        takers = [CellClaims(folder, clock=clock) for _ in range(8)]
        assert [taker.claim(KEY) for taker in takers] == [None] * 8
        clock.now = 100
        start = threading.Barrier(8)
        won: list[Claim] = []

        def take(taker: CellClaims, start: threading.Barrier, won: list[Claim]) -> None:
            start.wait()
            claim = taker.claim(KEY)
            if claim is not None:
                won.append(claim)

        threads = [threading.Thread(target=take, args=(one, start, won)) for one in takers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) <= 1  # none where all met at the mark; the next try has it
        claim = won[0] if won else held(takers[0].claim(KEY))
        assert not claim.is_lost()
        assert [path.name for path in folder.iterdir()] == [f"{KEY}.json"]
        claim.release()


def test_who_looked_before_the_take_over_does_not_take_it_again(folder: Path) -> None:
    foreign(folder)
    clock = Clock()
    quick, slow = CellClaims(folder, clock=clock), CellClaims(folder, clock=clock)
    assert (quick.claim(KEY), slow.claim(KEY)) == (None, None)
    clock.now = 100
    stale = slow._stale(folder / f"{KEY}.json")
    assert stale is not None
    with held(quick.claim(KEY)) as claim:
        assert not slow._take_away(folder / f"{KEY}.json", stale)
        assert not claim.is_lost()


def test_a_taker_that_was_killed_does_not_block_the_cell(folder: Path) -> None:
    path, clock = foreign(folder), Clock()
    claims = CellClaims(folder, clock=clock)
    assert claims.claim(KEY) is None
    clock.now = 100
    stale = claims._stale(path)
    assert stale is not None
    import hashlib

    path.with_suffix(f".{hashlib.sha256(stale).hexdigest()[:16]}.taken").touch()
    assert claims.claim(KEY) is None
    clock.now = 200
    assert claims.claim(KEY) is None
    held(claims.claim(KEY)).release()


def test_who_was_taken_for_dead_notices_and_leaves_the_claim_of_the_other(folder: Path) -> None:
    clock = Clock()
    sleeper, other = CellClaims(folder, every=1000), CellClaims(folder, clock=clock)
    claim = held(sleeper.claim(KEY))
    assert other.claim(KEY) is None
    clock.now = 60
    taken = held(other.claim(KEY))
    assert claim.is_lost()
    claim._write()  # it wakes up
    assert not taken.is_lost()
    claim.release()
    assert not taken.is_lost()
    assert sleeper.claim(KEY) is None
    taken.release()
    assert not folder.exists()


@pytest.mark.parametrize("number", [30, 13, 28])
def test_a_folder_that_takes_no_claim_is_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open" if number != 28 else "write", refuse)
    with pytest.raises(UnwritableError, match=os.strerror(number)):
        CellClaims(folder).claim(KEY)
    monkeypatch.undo()
    assert not folder.exists()


# Claims one cell again and again; who holds it alone may make a file of a fixed name. Some of
# them die while they hold the cell.
RIVAL = """
import os, random, signal, sys, time
from pathlib import Path
from bench.store.leases import CellClaims
folder, number = Path(sys.argv[1]), int(sys.argv[2])
claims, draw, held = CellClaims(folder / "claims"), random.Random(number), 0
end = time.monotonic() + 3
while time.monotonic() < end:
    claim = claims.claim("a" * 64)
    if claim is None:
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
    claim.release()
"""


def test_of_many_processes_that_die_while_they_hold_it_one_has_the_cell(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RIVAL, str(tmp_path)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    rivals = [
        subprocess.Popen([*command, str(number)], env=env, stderr=subprocess.PIPE, text=True)
        for number in range(6)
    ]
    said = [rival.communicate(timeout=60)[1] for rival in rivals]
    assert said == [""] * 6
    codes = [rival.returncode for rival in rivals]
    assert set(codes) <= {0, -signal.SIGKILL}
    assert -signal.SIGKILL in codes
    holders = (tmp_path / "log").read_text().split()
    assert len(set(holders)) > 1
    held(CellClaims(tmp_path / "claims").claim(KEY)).release()


def test_a_claim_is_never_there_without_its_content(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[bytes]] = []
    write = os.fsync

    def look(descriptor: int) -> None:
        seen.append([path.read_bytes() for path in folder.glob("*.json")])
        write(descriptor)

    monkeypatch.setattr("bench.store.lease.os.fsync", look)
    held(CellClaims(folder).claim(KEY)).release()
    assert seen == [[]]  # it got its name behind that
    assert not folder.exists()


def test_without_hard_links_one_process_alone_gets_a_claim(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr("bench.store.lease.os.link", refuse)
    claim = held(CellClaims(folder).claim(KEY))
    assert CellClaims(folder).claim(KEY) is None
    assert b"token" in (folder / f"{KEY}.json").read_bytes()
    claim.release()
    assert not folder.exists()
