"""`run_cell`: the work of a job, by the kind of its cell."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from bench.datasets import LoadedSamples
from bench.evaluation.checkpointing import Checkpointer
from bench.evaluation.context import Context
from bench.evaluation.driver import run_blocks, summary_of
from bench.evaluation.jobs import AbilityJob, EditJob, Job, Results, TimingJob
from editors.base import Editor


def run_cell(job: Job, context: Context, checkpointer: Checkpointer) -> Results:
    """Do a job's work with what the process has loaded, from where an earlier run stopped.

    Raises:
        StoppedEarly: a stop was requested.
    """
    return RUNNERS[type(job)](job, context, checkpointer)


def _edit(job: EditJob, context: Context, checkpointer: Checkpointer) -> Results:
    cell, start = job.cell, time.perf_counter()
    editor, samples = _opened(job, context)
    seconds = {"load": time.perf_counter() - start}
    ran = run_blocks(cell, editor, samples.samples, checkpointer=checkpointer, inputs=job.inputs)
    body = {
        "data": samples.facts(),
        "summary": summary_of(cell, ran.rows, ran.measured),
        "health": ran.health,
        "rows": ran.rows,
    }
    body |= {"measured": ran.measured} if ran.measured else {}
    return Results(body=body, seconds=seconds | ran.seconds, edits=len(ran.rows))


def _ask_abilities(job: AbilityJob, context: Context, checkpointer: Checkpointer) -> Results:
    from bench.evaluation.general_ability.running import run_edited, run_unedited
    from bench.evaluation.general_ability.scoring import summarise

    cell, start = job.cell, time.perf_counter()
    sets = context.ability_sets(job.source, cell.tasks)
    questions = {key: len(loaded.items) for key, loaded in sets.items()}
    data: dict[str, Any] = {"source": job.source.name, "questions": questions}
    lm = context.language_model(job)
    if job.stream is None:
        seconds = {"load": time.perf_counter() - start}
        ran = run_unedited(cell, lm, sets, checkpointer=checkpointer)
    else:
        editor, samples = _opened(job.stream, context)
        data["edits"] = samples.facts()
        seconds = {"load": time.perf_counter() - start}
        ran = run_edited(cell, editor, samples.samples, sets, checkpointer=checkpointer)
    body = {
        "data": data,
        "summary": summarise(ran.rows) | {"reliability": ran.reliability},
        "health": ran.health,
        "rows": ran.rows,
    }
    edits = 0 if cell.edits is None else cell.edits.n_edits
    return Results(body=body, seconds=seconds | ran.seconds, edits=edits)


def _time(job: TimingJob, context: Context, checkpointer: Checkpointer) -> Results:
    from bench.core.numerics import draw
    from bench.evaluation.timing.session import Session

    cell, start = job.cell, time.perf_counter()
    context.language_model(job)
    samples = context.samples(cell.dataset, job.stream.data_dir, cell.dataset_digest)
    drawn = draw(samples.samples, seed=cell.seed, limit=max(cell.n_edits, cell.queries))
    seconds = {"load": time.perf_counter() - start}
    summary = Session(job, context, [sample.request for sample in drawn], checkpointer).summary()
    body = {"data": samples.facts(), "summary": summary, "health": [], "rows": []}
    return Results(body=body, seconds=seconds, edits=cell.n_edits)


def _opened(job: EditJob, context: Context) -> tuple[Editor[Any], LoadedSamples]:
    """A job's editor on its model, and its samples."""
    cell = job.cell
    job.sources.check(cell.inputs)
    editor = context.editor(context.language_model(job), cell.editor, cell.hparams, job.sources)
    return editor, context.samples(cell.dataset, job.data_dir, cell.dataset_digest)


RUNNERS: dict[type[Job], Callable[[Any, Context, Checkpointer], Results]] = {
    EditJob: _edit,
    AbilityJob: _ask_abilities,
    TimingJob: _time,
}
