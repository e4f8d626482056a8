"""Which process this is, and whether another one of this machine is gone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_DEAD = "ZX"  # ended, and not yet asked for by the parent


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process for all time: its number alone may be given to another one later."""

    machine: str  # one boot of one machine, and one space of numbers on it; empty: not known
    pid: int
    started: int  # in ticks of that boot; 0: not known


def this_process() -> Process:
    """The one that asks."""
    pid = os.getpid()
    return Process(machine=_machine(), pid=pid, started=_status(pid)[1])


def is_gone(process: Process) -> bool:
    """Whether a process has certainly ended; one of another machine may always be there."""
    if not process.machine or process.machine != _machine() or not 0 < process.pid < 2**31:
        return False
    try:
        os.kill(process.pid, 0)  # asks, and sends nothing
    except ProcessLookupError:
        return True
    except OSError:
        pass  # another user's
    state, started = _status(process.pid)
    return state in _DEAD or started not in {0, process.started}


def is_here(process: Process) -> bool:
    """Whether a process of this machine is still there."""
    return bool(process.machine) and process.machine == _machine() and not is_gone(process)


def _machine() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _status(pid: int) -> tuple[str, int]:
    """(state, start in ticks) of a process; (`?`, 0) where it cannot be read."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "?", 0
    fields = text.rpartition(")")[2].split()  # the name in parentheses may hold anything
    return fields[0], int(fields[19])
