"""Jobs that need no model: they leave a mark, take a while, and may kill their process."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.cells import Cell
from bench.evaluation.checkpointing import Checkpointer
from bench.evaluation.context import Context
from bench.evaluation.jobs import Results
from bench.store.results import Record
from tests.core.test_cells import CELL
from tests.support.fake_jobs import NOWHERE, SelfRunningJob


@dataclass(frozen=True, kw_only=True)
class MarkingJob(SelfRunningJob):
    """Leaves a file for each try, which holds the numbers of its process and of its parent."""

    cell: Cell
    marks: Path
    deaths: int = 0  # tries that end in the death of the process
    hangs: int = 0  # tries that take minutes
    seconds: float = 0.0
    fails: bool = False
    heeds: bool = False  # ends when it is asked to

    def results(self, context: Context, checkpointer: Checkpointer) -> Results:
        number = len(tries(self))
        mark = self.marks / f"{self.cell.seed}-{number}"
        mark.write_text(f"{os.getpid()} {os.getppid()}")
        if number < self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        end = time.monotonic() + (300.0 if number < self.hangs else self.seconds)
        while time.monotonic() < end:
            time.sleep(0.02)
            if self.heeds:
                checkpointer.check()
        if self.fails:
            raise RuntimeError("no such luck")
        return Results(body={"summary": {"seed": self.cell.seed}, "rows": []}, seconds={}, edits=1)


def job(marks: Path, seed: int, **how: Any) -> MarkingJob:
    """A job that its seed identifies; higher seeds are larger jobs."""
    cell = dataclasses.replace(CELL, n_edits=seed + 1, seed=seed, limit=None, inputs={})
    marks.mkdir(exist_ok=True)
    return MarkingJob(cell=cell, backbone=NOWHERE, device="cpu", marks=marks, **how)


def tries(job: MarkingJob) -> list[Path]:
    """The marks of a job, in the order of its tries."""
    return sorted(job.marks.glob(f"{job.cell.seed}-*"))


def process_of(mark: Path) -> int:
    """The number of the process that left a mark."""
    return int(mark.read_text().split()[0])


def wait_for(mark: Path, seconds: float = 240.0) -> int:
    """The process that leaves a mark, as soon as it has; a TimeoutError where nobody does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if mark.exists() and mark.read_text():
            return process_of(mark)
        time.sleep(0.05)
    raise TimeoutError(f"{mark} was not left in {seconds} s.")


def states(directory: Path) -> dict[int, str]:
    """By seed, the state of each record."""
    return {record["cell"]["seed"]: record["status"]["state"] for record in all_records(directory)}


def all_records(directory: Path) -> list[Record]:
    return [json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))]
