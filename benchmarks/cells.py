"""Editors on the miniature backbone: the package against a plain implementation.

`cells` runs a cell of every editor, `ladder` R-ROME's cells of several numbers of edits, which
share cached updates, and `repositories` edits of a batch against edits one at a time. In `cells`
both sides make the same edits and score the same probes; where their scores differ, the times mean
nothing and the benchmark fails.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from bench.core.config import RunConfig
from bench.core.names import editor_keys
from bench.core.numerics import draw
from bench.datasets import LoadedSamples
from bench.evaluation.context import Context
from bench.evaluation.driver import CellRun, run_blocks
from bench.evaluation.jobs import EditJob
from bench.evaluation.metrics import summarise
from bench.runner.planning import Planner, points
from benchmarks import plain
from benchmarks.measure import Line
from editors import registry
from editors.base import Editor, EditRequest

NAME, LADDER, REPOSITORIES = "cells", "ladder", "repositories"
# `cells`
EDIT_TARGETS = dict.fromkeys(("rome", "memit", "wilke", "grace", "t_patcher"), 3.0)
PROBE_TARGET = 10.0
AVERAGE = "after/teacher_forced/token_accuracy/average"
COLLAPSED = 0.05  # an average below which a model answers nothing any more ..
MAGNIFIED = 0.02  # .. and rounding, which its weights magnify, may move scores by so much
# `ladder`
LADDER_EDITS = (1, 10, 100)
SEEDS = tuple(range(5))
SAMPLED = 30  # edits of the plain implementation; their mean stands for all others
LADDER_TARGET = 5.0
# `repositories`
MANY, FEW = 1_000, 40  # edits of editors that encode, and of those that optimise
OPTIMISING = ("grace", "r_rome")


class DifferentScoresError(Exception):
    """The two sides did not do the same work."""


def cell_job(key: str, edits: int, seed: int = 0) -> EditJob:
    """A cell of `edits` sequential edits of ZSRE on the miniature backbone, one block."""
    config = RunConfig(
        editors=(key,), datasets=("zsre",), edits=(edits,), limit=edits, seeds=(seed,)
    )
    (job,), _ = Planner(config).edit_jobs(points(config), named=True)
    return job


def ready(loaded: Context, job: EditJob, *, cached: bool) -> tuple[Editor[Any], LoadedSamples]:
    """The editor of a cell on its backbone, with the samples; `cached`: with cached edits."""
    lm, cell = loaded.language_model(job), job.cell
    editor = loaded.editor(lm, cell.editor, cell.hparams, job.sources, cached=cached)
    return editor, loaded.samples_of(job)


def cells(editors: Sequence[str], edits: int) -> Iterator[Line]:
    """Lines of each editor on ZSRE; ours is run before and after the plain run.

    Raises:
        DifferentScoresError: the plain implementation has other scores.
    """
    loaded = Context()
    for key in editors:
        job = cell_job(key, edits)
        first, slow, last = (_run(loaded, job, plainly) for plainly in (False, True, False))
        note = agreement(key, [_scores(first), _scores(last)], _scores(slow))
        yield from _lines(key, edits, [first.seconds, last.seconds], slow.seconds, note)


def agreement(key: str, ours: Sequence[Mapping[str, float]], theirs: Mapping[str, float]) -> str:
    """How far the scores of both sides agree, in words."""
    apart, name = max(
        (abs(scores[name] - theirs[name]), name) for scores in ours for name in theirs
    )
    if apart == 0:
        return "same scores"
    if theirs[AVERAGE] < COLLAPSED and apart <= MAGNIFIED:
        return f"collapsed; scores within {apart:.2f}"
    raise DifferentScoresError(
        f"{key}: wanted the scores of the plain implementation, got {name} of "
        f"{', '.join(f'{scores[name]:.4f}' for scores in ours)} for {theirs[name]:.4f}."
    )


def _lines(
    key: str, edits: int, ours: Sequence[dict[str, float]], slow: dict[str, float], note: str
) -> Iterator[Line]:
    def line(figure: str, phases: Sequence[str], per: int = 1) -> Line:
        fast, plainly = (
            sum(run.get(phase, 0.0) for run in runs for phase in phases) / len(runs) / per
            for runs in (ours, [slow])
        )
        return Line(NAME, f"{key}, {edits} edits", figure, fast, plainly, note=note)

    edit = line("s per edit", ["edit"], edits)
    yield edit.at_least(EDIT_TARGETS[key]) if key in EDIT_TARGETS else edit
    yield line("s of probing", ["pristine", "probe", "generate"]).at_least(PROBE_TARGET)


def _run(loaded: Context, job: EditJob, plainly: bool) -> CellRun:
    """One run as the first of its kind in a grid: with empty caches."""
    with _empty_caches():
        loaded.forget_model()
        editor, data = ready(loaded, job, cached=True)
        if not plainly:
            return run_blocks(job.cell, editor, data.samples)
        with plain.everything():
            return run_blocks(job.cell, editor, data.samples, batch_size=1)


@contextmanager
def _empty_caches() -> Iterator[None]:
    with (
        TemporaryDirectory() as empty,
        patch("bench.evaluation.caches.cache_root", lambda: Path(empty)),
    ):
        yield


def _scores(run: CellRun) -> dict[str, float]:
    """Every score of the run by its path."""

    def flat(value: Any, path: str) -> Iterator[tuple[str, float]]:
        if isinstance(value, Mapping):
            for name, inner in value.items():
                yield from flat(inner, f"{path}/{name}" if path else name)
        elif value is not None:
            yield path, float(value)

    return dict(flat(summarise(run.rows)["scores"], ""))


def ladder() -> Iterator[Line]:
    """Seconds of editing in all of R-ROME's cells: each update computed once, or in every cell."""
    config = RunConfig(editors=("r_rome",), datasets=("zsre",), edits=LADDER_EDITS, seeds=SEEDS)
    jobs, _ = Planner(config).edit_jobs(points(config), named=True)
    loaded = Context()
    seconds, count = 0.0, sum(job.cell.limit or 0 for job in jobs)
    single: list[float] = []
    with _empty_caches():
        for half in (jobs[::2], jobs[1::2]):  # the sides take turns
            for job in half:
                editor, data = ready(loaded, job, cached=True)
                seconds += run_blocks(job.cell, editor, data.samples).seconds["edit"]
            single += _edit_plainly(loaded, jobs[-1], start=len(single))
    yield Line(
        LADDER,
        f"r_rome, {len(jobs)} cells, {count:,} edits",
        "s of editing",
        seconds,
        plain=count * sum(single) / len(single),
        note=f"other side: mean of {len(single)} edits times {count:,}",
    ).at_least(LADDER_TARGET)


def _edit_plainly(loaded: Context, job: EditJob, *, start: int) -> Iterator[float]:
    """Seconds of single edits of the cell's samples, beginning with sample `start`."""
    editor, data = ready(loaded, job, cached=False)
    drawn = draw(data.samples, seed=job.cell.seed, limit=job.cell.limit)
    with plain.everything():
        for sample in itertools.islice(drawn, start, start + SAMPLED // 2):
            before = time.perf_counter()
            editor.edit([sample.request])
            yield time.perf_counter() - before
    editor.reset()


def repositories() -> Iterator[Line]:
    """Retrieval editors: an edit alone against an edit of a batch, and bytes per stored edit."""
    loaded = Context()
    for key in editor_keys():
        if registry.describe(key).family != "RB":
            continue
        count = FEW if key in OPTIMISING else MANY
        editor, data = ready(loaded, cell_job(key, 100), cached=False)
        requests = [sample.request for sample in data.samples[:count]]
        editor.edit(requests[:2])  # the first calls of a process are slower
        alone = at_once = 0.0
        for half in (requests[: count // 2], requests[count // 2 :]):  # the sides take turns
            alone += _seconds(editor, [[request] for request in half])
            at_once += _seconds(editor, [half])
        note = f"other side: one at a time; {count / at_once:,.0f} edits/s in batches"
        figure = "s per edit, in a batch"
        yield Line(REPOSITORIES, key, figure, at_once / count, alone / count, note=note)
        editor.reset()
        empty = _bytes(editor)
        editor.edit(requests)
        stored = (_bytes(editor) - empty) / count
        yield Line(REPOSITORIES, key, "bytes per stored edit", stored, note="of a checkpoint")
        editor.reset()


def _seconds(editor: Editor[Any], calls: Sequence[Sequence[EditRequest]]) -> float:
    editor.reset()
    start = time.perf_counter()
    for requests in calls:
        editor.edit(requests)
    return time.perf_counter() - start


def _bytes(editor: Editor[Any]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in editor.state_dict().values())
