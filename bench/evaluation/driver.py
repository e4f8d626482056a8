"""One cell, run: pristine answers, then per block n timed edits and the probing of all n."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from bench.core.cells import Cell, Generation
from bench.core.numerics import blocks, draw
from bench.core.provenance import Clock
from bench.evaluation.answers import Answered
from bench.evaluation.batching import Room
from bench.evaluation.checkpointing import Keeper
from bench.evaluation.edit_cache import saved_seconds
from bench.evaluation.health import BlockHealth, health_of
from bench.evaluation.measuring import Measuring
from bench.evaluation.metric_set import Running
from bench.evaluation.metrics import CONTEXT_GUIDED, ItemRow, SampleRow
from bench.evaluation.pristine import pristine_answers
from bench.evaluation.prober import Prober
from bench.evaluation.probing import BATCH_SIZE, Item, items_of
from bench.evaluation.streams import Stream
from bench.models.measure_inputs import NO_INPUTS, MeasureInputs
from editors.base import Editor, EditRequest, EditSample

GENERATION_PROMPTS: dict[Generation, str | None] = {
    "none": None,
    "context_free": "{}",
    "context_guided": CONTEXT_GUIDED,
}


@dataclass(frozen=True, kw_only=True)
class CellRun:
    """What running a cell gave."""

    rows: list[SampleRow]  # of every drawn sample, in the order of editing
    seconds: dict[str, float]  # by phase
    health: list[BlockHealth]
    measured: dict[str, Any] = field(default_factory=dict)  # by optional metric set


def run_cell(
    cell: Cell,
    editor: Editor[Any],
    samples: Sequence[EditSample],
    *,
    batch_size: int = BATCH_SIZE,
    keeper: Keeper | None = None,
    inputs: MeasureInputs = NO_INPUTS,
) -> CellRun:
    """Run one cell's protocol and return its rows, seconds and health.

    Protocol `blocks`: draw by seed, cut into disjoint blocks of n; per block reset, n single edits
    in order, probe all n, reset. All pristine answers come before the first edit. The editor is
    reset however the cell ends. What the keeper has of an earlier run is not done again. Optional
    metric sets look on behind numbers of edits of theirs and when all n have been probed.

    Raises:
        ValueError: fewer samples than one block needs.
        StoppedEarly: the keeper was asked to stop.
    """
    keeper = keeper or Keeper()
    keeper.check()
    clock = Clock(editor.lm.device)
    template = GENERATION_PROMPTS[cell.generation]
    known = pristine_answers(editor.lm, template)
    prober = Prober(editor.lm, clock, template, Room(batch_size), known, keeper.check)
    chosen = blocks(draw(samples, seed=cell.seed, limit=cell.limit), cell.n_edits)
    editor.reset()
    before = iter(prober.pristine([item for block in chosen for item in _items(block)]))
    looking = Running(
        cell=cell, editor=editor, samples=samples, room=prober.room, inputs=inputs,
        between=keeper.check,
    )  # fmt: skip
    measuring = Measuring(looking, clock, chosen)
    measuring.before()
    stream = Stream(editor, clock, keeper, measuring)
    try:
        stream.resume()
        first = stream.block * cell.n_edits + len(stream.seconds)
        edits = _edits(clock, editor, chosen, first)
        for number, block in enumerate(chosen):
            items = _items(block)
            pristine = list(islice(before, len(items)))
            if number < stream.block:
                continue
            measuring.behind_edits(number, len(stream.seconds), stream.keep)
            for seconds in islice(edits, len(block) - len(stream.seconds)):
                stream.edit_is_made(seconds)
                measuring.behind_edits(number, len(stream.seconds), stream.keep)
            after = prober.edited(items, editor, stream.asked)
            measuring.at_end(number, stream.keep)
            editor.reset()
            health = health_of(number, block, pristine, after, editor, keeper.check)
            rows = _sample_rows(number, block, stream.seconds, pristine, after)
            stream.block_is_done(health, rows)
    finally:
        editor.reset()
    return CellRun(
        rows=stream.rows,
        seconds=clock.seconds,
        health=stream.health,
        measured=measuring.results(),
    )


def _edits(
    clock: Clock, editor: Editor[Any], chosen: Sequence[Sequence[EditSample]], first: int
) -> Iterator[float]:
    """Make the next edit, in order, whenever asked; the seconds it takes.

    Single edits depend on nothing before them: an editor may prepare several of them together, and
    they share the seconds of it equally. Those before number `first` are made already; where it is
    among several, they are prepared together as they were.
    """
    requests = [sample.request for block in chosen for sample in block]
    size = editor.together if len(chosen[0]) == 1 else 1
    made: list[Callable[[], None]] = []

    def prepare(group: Sequence[EditRequest]) -> None:
        made[:] = editor.prepare(group)

    def make(edit: Callable[[], None]) -> None:
        edit()

    for start in range(first - first % size, len(requests), size):
        saved_seconds(editor)  # of what was found for another purpose
        shared = clock.timed("edit", prepare, requests[start : start + size])
        shared += saved_seconds(editor)
        for edit in made[max(first - start, 0) :]:
            seconds = clock.timed("edit", make, edit) + saved_seconds(editor)
            yield shared / len(made) + seconds


def _sample_rows(
    number: int,
    block: Sequence[EditSample],
    seconds: Sequence[float],
    before: Sequence[Answered],
    after: Sequence[Answered],
) -> list[SampleRow]:
    """A block's rows; the answers are those of all its items, in order."""
    rows, start = [], 0
    for position, sample in enumerate(block):
        end = start + len(items_of(sample))
        rows.append(
            SampleRow(
                id=sample.id,
                block=number,
                position=position,
                edit_seconds=seconds[position],
                items=_item_rows(sample, before[start:end], after[start:end]),
            )
        )
        start = end
    return rows


def _items(block: Sequence[EditSample]) -> list[Item]:
    return [item for sample in block for item in items_of(sample)]


def _item_rows(
    sample: EditSample, before: Sequence[Answered], after: Sequence[Answered]
) -> list[ItemRow]:
    """The sample's items with their answers of both phases."""
    return [
        ItemRow(
            aspect=item.aspect,
            kind=item.kind,
            prompt=item.prompt,
            target=item.target,
            target_ids=list(pristine.target_ids),
            before=pristine.channels,
            after=edited.channels,
        )
        for item, pristine, edited in zip(items_of(sample), before, after, strict=True)
    ]
