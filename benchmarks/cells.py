"""A cell of every editor on the miniature backbone: the package against the plain way of working.

Both sides make the same edits and ask the same questions; where their scores differ, the times say
nothing and the benchmark fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from bench.core.grids import Selection, get_table
from bench.evaluation.context import Loaded
from bench.evaluation.driver import CellRun, run_cell
from bench.evaluation.edit_job import EditJob
from bench.evaluation.metrics import summarise
from bench.runner.planning import Settings, plan, points
from benchmarks import plain
from benchmarks.lines import Line, at_least

NAME = "cells"
PHASES = {"edit": "s per edit", "probe": "s of probing", "generate": "s of generating"}
EDIT_TARGETS = dict.fromkeys(("rome", "memit", "wilke", "grace", "t_patcher"), 3.0)
PROBE_TARGET = 10.0
AVERAGE = "after/teacher_forced/token_accuracy/average"


COLLAPSED = 0.05  # an average below which a model answers nothing any more ..
MAGNIFIED = 0.02  # .. and rounding, which its weights magnify, may move scores by so much


class DifferentScoresError(Exception):
    """The two sides did not do the same work."""


def cells(editors: Sequence[str], edits: int) -> Iterator[Line]:
    """Lines of each editor on ZSRE; ours is run on both sides of the plain run.

    Raises:
        DifferentScoresError: the plain way of working scored otherwise.
    """
    loaded = Loaded()
    for key in editors:
        job = cell_job(key, edits)
        first, slow, last = (_run(loaded, job, plainly) for plainly in (False, True, False))
        note = agreement(key, [_scores(first), _scores(last)], _scores(slow))
        yield from _lines(key, edits, [first.seconds, last.seconds], slow.seconds, note)


def agreement(key: str, ours: Sequence[Mapping[str, float]], theirs: Mapping[str, float]) -> str:
    """What is to be said of the scores of both sides."""
    name, apart = max(
        ((name, abs(one[name] - theirs[name])) for one in ours for name in theirs),
        key=lambda found: found[1],
    )
    if apart == 0:
        return "same scores"
    if theirs[AVERAGE] < COLLAPSED and apart <= MAGNIFIED:
        return f"collapsed; scores within {apart:.2f}"
    raise DifferentScoresError(
        f"{key}: wanted the scores of the plain way of working, got {name} of "
        f"{', '.join(f'{one[name]:.4f}' for one in ours)} for {theirs[name]:.4f}."
    )


def _lines(
    key: str, edits: int, ours: Sequence[dict[str, float]], slow: dict[str, float], note: str
) -> Iterator[Line]:
    def line(figure: str, phases: Sequence[str], per: int = 1) -> Line:
        means = [sum(one.get(phase, 0.0) for one in ours) / len(ours) for phase in phases]
        return Line(
            benchmark=NAME,
            subject=f"{key}, {edits} edits",
            figure=figure,
            ours=sum(means) / per,
            plain=sum(slow.get(phase, 0.0) for phase in phases) / per,
            note=note,
        )

    edit = line("s per edit", ["edit"], edits)
    yield at_least(edit, EDIT_TARGETS[key]) if key in EDIT_TARGETS else edit
    yield at_least(line("s of probing", ["pristine", "probe", "generate"]), PROBE_TARGET)


def cell_job(key: str, edits: int, seed: int = 0) -> EditJob:
    """A cell of `edits` sequential edits of ZSRE on the miniature backbone, one block."""
    chosen = Selection(
        editors=(key,), datasets=("zsre",), edits=(edits,), limit=edits, seeds=(seed,)
    )
    (job,) = plan(points(get_table(1), chosen), Settings())
    return job


def _run(loaded: Loaded, job: EditJob, plainly: bool) -> CellRun:
    """One run as a grid's first of its kind: nothing is there that an earlier one kept."""
    found = loaded.samples(job.cell.dataset, job.data_dir, job.cell.dataset_digest)
    with (
        TemporaryDirectory() as empty,
        patch("bench.evaluation.caches.cache_root", lambda: Path(empty)),
    ):
        loaded.forget_model()
        lm = loaded.language_model(job)
        editor: Any = loaded.editor(lm, job.cell.editor, job.cell.hparams, job.sources, keep=True)
        if not plainly:
            return run_cell(job.cell, editor, found.samples)
        with plain.everything():
            return run_cell(job.cell, editor, found.samples, batch_size=1)


def _scores(run: CellRun) -> dict[str, float]:
    """Every score of the run by its path."""

    def flat(value: Any, path: str) -> Iterator[tuple[str, float]]:
        if isinstance(value, Mapping):
            for name, inner in value.items():
                yield from flat(inner, f"{path}/{name}" if path else name)
        elif value is not None:
            yield path, float(value)

    return dict(flat(summarise(run.rows)["scores"], ""))
