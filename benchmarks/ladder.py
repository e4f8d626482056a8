"""R-ROME over a ladder of cells: every update made once and kept, against made for every cell."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from bench.core.grids import Selection, get_table
from bench.core.numerics import draw
from bench.evaluation.context import Loaded
from bench.evaluation.driver import run_cell
from bench.evaluation.edit_job import EditJob
from bench.runner.planning import Settings, plan, points
from benchmarks import plain
from benchmarks.lines import Line, at_least

NAME = "ladder"
EDITS = (1, 10, 100)
SEEDS = tuple(range(5))
SAMPLED = 30  # updates that the plain way of working makes; the mean stands for all others
TARGET = 5.0


def ladder() -> Iterator[Line]:
    """One line: seconds of editing in all cells of ZSRE."""
    chosen = Selection(editors=("r_rome",), datasets=("zsre",), edits=EDITS, seeds=SEEDS)
    jobs = plan(points(get_table(1), chosen), Settings())
    loaded = Loaded()
    halves = [jobs[::2], jobs[1::2]]
    seconds, count = 0.0, sum(job.cell.limit or 0 for job in jobs)
    each: list[float] = []
    with (
        tempfile.TemporaryDirectory() as empty,
        patch("bench.evaluation.caches.cache_root", lambda: Path(empty)),
    ):
        for half in halves:  # the sides take turns
            seconds += sum(_edit_all(loaded, job) for job in half)
            each += _edit_plainly(loaded, jobs[-1], start=len(each))
    line = Line(
        benchmark=NAME,
        subject=f"r_rome, {len(jobs)} cells, {count:,} edits",
        figure="s of editing",
        ours=seconds,
        plain=count * sum(each) / len(each),
        note=f"other side: mean of {len(each)} edits times {count:,}",
    )
    yield at_least(line, TARGET)


def _edit_all(loaded: Loaded, job: EditJob) -> float:
    """Seconds that a cell's edits take, as the benchmark makes them."""
    lm = loaded.language_model(job)
    editor = loaded.editor(lm, job.cell.editor, job.cell.hparams, job.sources, keep=True)
    found = loaded.samples(job.cell.dataset, job.data_dir, job.cell.dataset_digest)
    return run_cell(job.cell, editor, found.samples).seconds["edit"]


def _edit_plainly(loaded: Loaded, job: EditJob, *, start: int) -> Iterator[float]:
    """Seconds of single edits of the cell's samples from one on."""
    lm = loaded.language_model(job)
    editor = loaded.editor(lm, job.cell.editor, job.cell.hparams, job.sources, keep=False)
    found = loaded.samples(job.cell.dataset, job.data_dir, job.cell.dataset_digest)
    drawn = draw(found.samples, seed=job.cell.seed, limit=job.cell.limit)
    with plain.everything():
        for sample in itertools.islice(drawn, start, start + SAMPLED // 2):
            before = time.perf_counter()
            editor.edit([sample.request])
            yield time.perf_counter() - before
    editor.reset()
