"""One cell, run: pristine answers, then per block n timed edits and the probing of all n."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from bench.cell import Cell, Generation
from bench.clock import Clock
from bench.metrics import CONTEXT_GUIDED
from bench.prober import Answered, Prober
from bench.probing import BATCH_SIZE, Item, items_of
from bench.rows import ItemRow, SampleRow
from bench.seeds import blocks, draw
from editors.base import Editor, EditSample

GENERATION_PROMPTS: dict[Generation, str | None] = {
    "none": None,
    "context_free": "{}",
    "context_guided": CONTEXT_GUIDED,
}


def run_cell(
    cell: Cell,
    editor: Editor[Any],
    samples: Sequence[EditSample],
    *,
    batch_size: int = BATCH_SIZE,
) -> tuple[list[SampleRow], dict[str, float]]:
    """Rows of every drawn sample in the order of editing, and the seconds of each phase.

    Protocol `blocks`: draw by seed, cut into disjoint blocks of n; per block reset, n single edits
    in order, probe all n, reset. All pristine answers come before the first edit. The editor is
    reset however the cell ends.

    Raises:
        ValueError: fewer samples than one block needs.
    """
    clock = Clock(editor.lm.device)
    prober = Prober(editor.lm, clock, GENERATION_PROMPTS[cell.generation], batch_size)
    chosen = blocks(draw(samples, seed=cell.seed, limit=cell.limit), cell.n_edits)
    editor.reset()
    before = iter(prober.pristine([item for block in chosen for item in _items(block)]))
    rows: list[SampleRow] = []
    try:
        for number, block in enumerate(chosen):
            seconds = [clock.timed("edit", editor.edit, [sample.request]) for sample in block]
            after = iter(prober.edited(_items(block), editor))
            editor.reset()
            rows += [
                SampleRow(
                    id=sample.id,
                    block=number,
                    position=position,
                    edit_seconds=seconds[position],
                    items=_item_rows(sample, before, after),
                )
                for position, sample in enumerate(block)
            ]
    finally:
        editor.reset()
    return rows, clock.seconds


def _items(block: Sequence[EditSample]) -> list[Item]:
    return [item for sample in block for item in items_of(sample)]


def _item_rows(
    sample: EditSample, before: Iterator[Answered], after: Iterator[Answered]
) -> list[ItemRow]:
    """The sample's items with the next answers of both phases."""
    items = items_of(sample)
    answers = zip(items, islice(before, len(items)), islice(after, len(items)), strict=True)
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
        for item, pristine, edited in answers
    ]
