"""`run_cell`: the work of a job, by the kind of its cell; of an editing cell, its whole protocol.

The sequential protocol `blocks` is the paper's: edit a block of n samples, then probe all n, then
reset. An edit is never scored right after itself, but after all n.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from bench.core.cells import Cell, Generation
from bench.core.numerics import Clock, blocks, draw
from bench.datasets import LoadedSamples
from bench.evaluation.caches import pristine_answers, saved_seconds
from bench.evaluation.checkpointing import BlockStream, Checkpointer
from bench.evaluation.context import Context
from bench.evaluation.inference import BATCH_SIZE, BatchLimit
from bench.evaluation.jobs import AbilityJob, EditJob, Job, Results, TimingJob
from bench.evaluation.metric_sets import (
    NO_INPUTS,
    Block,
    MeasureInputs,
    Measuring,
    RunningCell,
    SetResults,
    get_set,
)
from bench.evaluation.metrics import CONTEXT_GUIDED, ItemRow, SampleRow, summarise
from bench.evaluation.probing import (
    BlockHealth,
    Item,
    ItemAnswers,
    Prober,
    check_unedited,
    health_of,
    hop_items,
    items_of,
)
from editors.base import Editor, EditRequest, EditSample
from editors.parts.fast_paths import fast_paths

GENERATION_PROMPTS: dict[Generation, str | None] = {
    "none": None,
    "context_free": "{}",
    "context_guided": CONTEXT_GUIDED,
}


def run_cell(job: Job, context: Context, checkpointer: Checkpointer) -> Results:
    """Do a job's work with what the process has loaded, from where an earlier run stopped."""
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
    edits = 0 if cell.edits is None else cell.edits.n_edits * len(ran.health)
    return Results(body=body, seconds=seconds | ran.seconds, edits=edits)


def _time(job: TimingJob, context: Context, checkpointer: Checkpointer) -> Results:
    from bench.evaluation.timing import Session

    cell, start = job.cell, time.perf_counter()
    context.language_model(job)
    samples = context.samples_of(job.stream)
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
    return editor, context.samples_of(job)


RUNNERS: dict[type[Job], Callable[[Any, Context, Checkpointer], Results]] = {
    EditJob: _edit,
    AbilityJob: _ask_abilities,
    TimingJob: _time,
}


# ---- an editing cell ---------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class CellRun:
    """The results of a cell."""

    rows: list[SampleRow]  # of every drawn sample, in the order of editing
    seconds: dict[str, float]  # by phase
    health: list[BlockHealth]
    measured: dict[str, Any] = field(default_factory=dict)  # by optional metric set


def run_blocks(
    cell: Cell,
    editor: Editor[Any],
    samples: Sequence[EditSample],
    *,
    batch_size: int = BATCH_SIZE,
    checkpointer: Checkpointer | None = None,
    inputs: MeasureInputs = NO_INPUTS,
) -> CellRun:
    """Run one cell's protocol and return its rows, seconds and health.

    Draw by seed and cut into disjoint blocks of n; per block reset, n edits in order, single ones
    or in batches, probe all n, reset. All pristine answers are computed before the first edit. The
    editor is reset however the cell ends. A checkpoint of an earlier run is continued. Optional
    metric sets look at the model after certain numbers of edits, and when all n have been probed.

    Raises:
        ValueError: fewer samples than one block needs.
        StoppedEarly: on request.
    """
    checkpointer = checkpointer or Checkpointer()
    checkpointer.check()
    clock = Clock(editor.lm.device)
    prober = Prober(editor.lm, clock, GENERATION_PROMPTS[cell.generation], BatchLimit(batch_size))
    chosen = blocks(cell.drawn(samples), cell.n_edits)
    editor.reset()
    pristine = iter(_pristine(prober, [i for b in chosen for i in _items(b)], checkpointer))
    known = _known(prober, chosen, checkpointer)
    running = RunningCell(
        cell=cell, editor=editor, samples=samples, limit=prober.limit, inputs=inputs,
        after_batch=checkpointer.check,
    )  # fmt: skip
    measuring = Measuring([get_set(name) for name in cell.measures], running, clock, chosen)
    measuring.before()
    stream = BlockStream(editor, clock, checkpointer, measuring)
    try:
        stream.resume()
        done = stream.block * cell.n_edits + len(stream.seconds)
        steps = _steps(clock, editor, chosen, cell.batch_per_step, done)
        for number, block in enumerate(chosen):
            items = _items(block)
            before = list(islice(pristine, len(items)))
            if number < stream.block:
                continue
            measuring.after_edits(number, len(stream.seconds), stream.after_batch)
            while len(stream.seconds) < len(block):
                stream.after_step(next(steps))
                measuring.after_edits(number, len(stream.seconds), stream.after_batch)
            after = prober.edited(items, editor, stream.answers)
            measuring.at_end(number, stream.after_batch)
            editor.reset()
            health = health_of(number, block, before, after, editor, checkpointer.check)
            rows = _rows(number, block, stream.seconds, before, after, known)
            stream.after_block(health, rows)
    finally:
        editor.reset()
    return CellRun(
        rows=stream.rows, seconds=clock.seconds, health=stream.health, measured=measuring.results()
    )


def summary_of(
    cell: Cell, rows: Sequence[SampleRow], measured: Mapping[str, Any]
) -> dict[str, Any]:
    """The summary of a record, from its rows and the results of its metric sets alone."""
    measures = {
        name: get_set(name).summary(cell, rows, SetResults(**results))
        for name, results in measured.items()
    }
    return summarise(rows) | ({"measures": measures} if measures else {})


def _known(
    prober: Prober, chosen: Sequence[Block], checkpointer: Checkpointer
) -> Mapping[tuple[str, str], bool]:
    """Whether the unedited model knows each other fact that a question needs (exact match)."""
    hops = hop_items(item for block in chosen for item in _items(block))
    answers = _pristine(prober, hops, checkpointer) if hops else []
    return {
        (hop.prompt, hop.target): tuple(own.channels["teacher_forced"]["ids"]) == own.target_ids
        for hop, own in zip(hops, answers, strict=True)
    }


def _pristine(
    prober: Prober, items: Sequence[Item], checkpointer: Checkpointer
) -> list[ItemAnswers]:
    """The unedited model's answers to some items, from the cache where it has them."""
    ask = partial(prober.pristine, after_batch=checkpointer.check)
    cached = pristine_answers(prober.lm, prober.template)
    with prober.clock.phase("pristine"):
        answers = ask(items) if cached is None else cached.of(items, ask)
    check_unedited(prober.lm, answers)
    return answers


def _steps(
    clock: Clock, editor: Editor[Any], chosen: Sequence[Block], batch: int, done: int
) -> Iterator[list[float]]:
    """Apply the edits of one more step, in order; yields the seconds of each of them.

    A step is one call of `edit` with up to `batch` requests of a block, which share its seconds
    equally. The first `done` edits are in place already, and end a step or a block.
    """
    if batch == 1:
        for seconds in _single_edits(clock, editor, chosen, done):
            yield [seconds]
        return
    requests = [[sample.request for sample in block] for block in chosen]
    steps = [block[i : i + batch] for block in requests for i in range(0, len(block), batch)]
    for step in steps:
        done -= len(step)
        if done < 0:
            yield [_timed(clock, editor, editor.edit, step) / len(step)] * len(step)


def _single_edits(
    clock: Clock, editor: Editor[Any], chosen: Sequence[Block], done: int
) -> Iterator[float]:
    """Apply the next edit, in order, at each step; yields the seconds it takes.

    Single edits depend on nothing before them: an editor may prepare several of them together, and
    they share the seconds of it equally. The first `done` are in place already; where the next is
    among several, they are prepared together as they were.
    """
    requests = [sample.request for block in chosen for sample in block]
    paths = fast_paths(editor)
    size = paths.edits_at_once if len(chosen[0]) == 1 else 1
    prepared: list[Callable[[], None]] = []

    def prepare(group: Sequence[EditRequest]) -> None:
        prepared[:] = paths.prepare(group)

    for start in range(done - done % size, len(requests), size):
        shared = _timed(clock, editor, prepare, requests[start : start + size])
        for edit in prepared[max(done - start, 0) :]:
            yield shared / len(prepared) + _timed(clock, editor, lambda apply: apply(), edit)


def _timed(clock: Clock, editor: Editor[Any], work: Callable[[Any], None], argument: Any) -> float:
    saved_seconds(editor)  # of what other work has read
    return clock.timed("edit", work, argument) + saved_seconds(editor)


def _items(block: Block) -> list[Item]:
    return [item for sample in block for item in items_of(sample)]


def _rows(
    number: int,
    block: Block,
    seconds: Sequence[float],
    before: Sequence[ItemAnswers],
    after: Sequence[ItemAnswers],
    known: Mapping[tuple[str, str], bool],
) -> list[SampleRow]:
    """A block's rows; the answers are those of all its items, in order."""
    answers = iter(zip(before, after, strict=True))
    return [
        SampleRow(
            id=sample.id,
            block=number,
            position=position,
            edit_seconds=seconds[position],
            items=[_item_row(item, *next(answers), known) for item in items_of(sample)],
        )
        for position, sample in enumerate(block)
    ]


def _item_row(
    item: Item, before: ItemAnswers, after: ItemAnswers, known: Mapping[tuple[str, str], bool]
) -> ItemRow:
    row = ItemRow(
        aspect=item.aspect,
        kind=item.kind,
        prompt=item.prompt,
        target=item.target,
        target_ids=list(before.target_ids),
        before=before.channels,
        after=after.channels,
    )
    if item.aliases:
        row["aliases"] = list(item.aliases)
    if item.hops:
        row["known"] = all(known[hop] for hop in item.hops)
    return row
