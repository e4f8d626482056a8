"""Runs of one grid side by side, whose log says which process wrote which record."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from bench.cli.main import main
from bench.runner import run
from bench.store.results import ResultStore
from tests.faults.clocks import Jump, jumping


def log_records(log: Path) -> None:
    """Let this process add a line to a log for each record that it has written."""
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


def forked_run(arguments: Sequence[str], log: Path, jump: Jump | None = None) -> int:
    """The number of a process that runs a command with the libraries that this one has loaded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
        child = os.fork()
    if child:
        return child
    code = 99
    try:
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            sys.stdout = sys.stderr = nowhere
            log_records(log)
            run.EVERY = 0.05
            with jumping(jump):
                code = main(arguments)
    finally:
        os._exit(code)


def ended(child: int, seconds: float = 120.0) -> int:
    """The exit code of a process.

    Raises:
        TimeoutError: it has none.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    raise TimeoutError(f"Process {child} did not end in {seconds} s.")


if __name__ == "__main__":
    log_records(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
