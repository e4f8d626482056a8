"""Jobs for tests of what is around jobs: they log each run in a file and need no model."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.core.cells import Cell
from bench.evaluation.checkpointing import Checkpointer
from bench.evaluation.context import Context
from bench.evaluation.driver import RUNNERS
from bench.evaluation.jobs import Job, Results
from bench.models.backbones import Backbone
from bench.runner.executors.base import Executor, Finished
from bench.runner.executors.local import LocalExecutor
from bench.runner.observers import Observer
from bench.runner.run import execute
from bench.store.results import ResultStore
from tests.core.test_cells import CELL

NOWHERE = Backbone(name="none", directory=Path("nowhere"), digest="0" * 64)


@dataclass(frozen=True, kw_only=True)
class SelfRunningJob(Job):
    """Base of jobs of tests, which know their own work."""

    paths: Mapping[str, str] = field(default_factory=dict)

    def __init_subclass__(cls) -> None:
        RUNNERS[cls] = lambda job, context, checkpointer: job.results(context, checkpointer)

    def results(self, context: Context, checkpointer: Checkpointer) -> Results:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class FakeJob(SelfRunningJob):
    """Sleeps, and fails or answers as it is set."""

    cell: Cell
    log: Path  # one line for each run: the seed and the process
    seconds: float = 0.0
    error: str | None = None
    score: float = 0.5

    def results(self, context: Context, checkpointer: Checkpointer) -> Results:
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{self.cell.seed} {os.getpid()}\n")
        time.sleep(self.seconds)
        if self.error is not None:
            raise RuntimeError(self.error)
        body: dict[str, Any] = {"data": {}, "summary": {"score": self.score}, "rows": []}
        return Results(body=body, seconds={}, edits=1)


def fake_job(log: Path, seed: int = 0, n_edits: int = 10, **changes: Any) -> FakeJob:
    """A job of its own cell."""
    cell = dataclasses.replace(CELL, seed=seed, n_edits=n_edits)
    return FakeJob(cell=cell, backbone=NOWHERE, device="cpu", log=log, **changes)


def runs(log: Path) -> list[int]:
    """The seeds that were run, in order."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [int(line.split()[0]) for line in lines]


class Collected(Observer):
    """The cells that have ended, in order."""

    def __init__(self, then: Callable[[Finished], None] = lambda _: None) -> None:
        """`then` is called with each."""
        self.cells: list[Finished] = []
        self._then = then

    def finished(self, cell: Finished) -> None:
        self.cells.append(cell)
        self._then(cell)


def executed(
    jobs: Sequence[Job],
    store: ResultStore,
    executor: Executor | None = None,
    then: Callable[[Finished], None] = lambda _: None,
    **how: Any,
) -> list[Finished]:
    """What became of each job, by default in this process; `then` is called with each."""
    collected = Collected(then)
    execute(jobs, store, [collected], executor=executor or LocalExecutor(1), **how)
    return collected.cells
