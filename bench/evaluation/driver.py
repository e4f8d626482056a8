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

    Draw by seed and cut into disjoint blocks of n; per block reset, n single edits in order, probe
    all n, reset. All pristine answers are computed before the first edit. The editor is reset
    however the cell ends. A checkpoint of an earlier run is continued. Optional metric sets look
    at the model after certain numbers of edits, and when all n have been probed.

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
    pristine = iter(_pristine(prober, chosen, checkpointer))
    running = RunningCell(
        cell=cell, editor=editor, samples=samples, limit=prober.limit, inputs=inputs,
        after_batch=checkpointer.check,
    )  # fmt: skip
    measuring = Measuring([get_set(name) for name in cell.measures], running, clock, chosen)
    measuring.before()
    stream = BlockStream(editor, clock, checkpointer, measuring)
    try:
        stream.resume()
        edits = _edits(clock, editor, chosen, stream.block * cell.n_edits + len(stream.seconds))
        for number, block in enumerate(chosen):
            items = _items(block)
            before = list(islice(pristine, len(items)))
            if number < stream.block:
                continue
            measuring.after_edits(number, len(stream.seconds), stream.after_batch)
            for seconds in islice(edits, len(block) - len(stream.seconds)):
                stream.after_edit(seconds)
                measuring.after_edits(number, len(stream.seconds), stream.after_batch)
            after = prober.edited(items, editor, stream.answers)
            measuring.at_end(number, stream.after_batch)
            editor.reset()
            health = health_of(number, block, before, after, editor, checkpointer.check)
            stream.after_block(health, _rows(number, block, stream.seconds, before, after))
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


def _pristine(
    prober: Prober, chosen: Sequence[Block], checkpointer: Checkpointer
) -> list[ItemAnswers]:
    """The unedited model's answers to all items, from the cache where it has them."""
    items = [item for block in chosen for item in _items(block)]
    ask = partial(prober.pristine, after_batch=checkpointer.check)
    cached = pristine_answers(prober.lm, prober.template)
    with prober.clock.phase("pristine"):
        answers = ask(items) if cached is None else cached.of(items, ask)
    check_unedited(prober.lm, answers)
    return answers


def _edits(
    clock: Clock, editor: Editor[Any], chosen: Sequence[Block], first: int
) -> Iterator[float]:
    """Apply the next edit, in order, at each step; yields the seconds it takes.

    Single edits depend on nothing before them: an editor may prepare several of them together, and
    they share the seconds of it equally. Those before number `first` are in place already; where it
    is among several, they are prepared together as they were.
    """
    requests = [sample.request for block in chosen for sample in block]
    paths = fast_paths(editor)
    size = paths.edits_at_once if len(chosen[0]) == 1 else 1
    prepared: list[Callable[[], None]] = []

    def prepare(group: Sequence[EditRequest]) -> None:
        prepared[:] = paths.prepare(group)

    def timed(work: Callable[[Any], None], argument: Any) -> float:
        saved_seconds(editor)  # of what other work has read
        return clock.timed("edit", work, argument) + saved_seconds(editor)

    for start in range(first - first % size, len(requests), size):
        shared = timed(prepare, requests[start : start + size])
        for edit in prepared[max(first - start, 0) :]:
            yield shared / len(prepared) + timed(lambda apply: apply(), edit)


def _items(block: Block) -> list[Item]:
    return [item for sample in block for item in items_of(sample)]


def _rows(
    number: int,
    block: Block,
    seconds: Sequence[float],
    before: Sequence[ItemAnswers],
    after: Sequence[ItemAnswers],
) -> list[SampleRow]:
    """A block's rows; the answers are those of all its items, in order."""
    answers = iter(zip(before, after, strict=True))
    return [
        SampleRow(
            id=sample.id,
            block=number,
            position=position,
            edit_seconds=seconds[position],
            items=[_item_row(item, *next(answers)) for item in items_of(sample)],
        )
        for position, sample in enumerate(block)
    ]


def _item_row(item: Item, before: ItemAnswers, after: ItemAnswers) -> ItemRow:
    row = ItemRow(
        aspect=item.aspect,
        kind=item.kind,
        prompt=item.prompt,
        target=item.target,
        target_ids=list(before.target_ids),
        before=before.channels,
        after=after.channels,
    )
    return row | {"aliases": list(item.aliases)} if item.aliases else row
