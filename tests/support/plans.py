"""Jobs of a selection, for tests."""

from __future__ import annotations

from typing import Any

from bench.core.config import RunConfig
from bench.evaluation.jobs import EditJob
from bench.runner.planning import plan


def edit_jobs(**selection: Any) -> list[EditJob]:
    """The jobs of a plan of editing cells."""
    return [job for job in plan(RunConfig(**selection)).jobs if isinstance(job, EditJob)]
