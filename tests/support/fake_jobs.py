"""Jobs for tests of runners: they log each run in a file and need no model."""

from __future__ import annotations

import dataclasses
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.cells import Cell
from bench.evaluation.jobs import Job, Results
from bench.models.backbones import Backbone
from tests.core.test_cells import CELL

if TYPE_CHECKING:
    from bench.evaluation.checkpointing import Checkpointer
    from bench.evaluation.context import Loaded

NOWHERE = Backbone(name="none", directory=Path("nowhere"), digest="0" * 64)


@dataclass(frozen=True, kw_only=True)
class FakeJob(Job):
    """Sleeps, then fails or returns its score."""

    cell: Cell
    log: Path  # one line for each run: the seed and the process
    seconds: float = 0.0
    error: str | None = None
    score: float = 0.5

    @property
    def size(self) -> tuple[int, int]:
        return 1, 0

    def results(self, loaded: Loaded, checkpointer: Checkpointer) -> Results:
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{self.cell.seed} {os.getpid()}\n")
        time.sleep(self.seconds)
        if self.error is not None:
            raise RuntimeError(self.error)
        body: dict[str, Any] = {"data": {}, "summary": {"score": self.score}, "rows": []}
        return Results(body=body, seconds={}, edits=1)

    def editor_facts(self) -> dict[str, Any]:
        return {"label": "FT"}


def fake_job(log: Path, seed: int = 0, **changes: Any) -> FakeJob:
    """A job of its own cell."""
    cell = dataclasses.replace(CELL, seed=seed)
    return FakeJob(cell=cell, backbone=NOWHERE, device="cpu", log=log, **changes)


def runs(log: Path) -> list[int]:
    """The seeds that were run, in order."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [int(line.split()[0]) for line in lines]
