"""One row of Table 2: n edits, then every question, then reset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from bench.core.numerics import Clock, draw
from bench.evaluation.checkpointing import Checkpointer, EditSequence
from bench.evaluation.general_ability import asking
from bench.evaluation.general_ability.scoring import (
    AbilityRow,
    Numbered,
)
from bench.evaluation.general_ability.sets import LoadedSet, chosen
from bench.evaluation.inference import (
    BATCH_SIZE,
    Steering,
    predict,
    unsteered,
)
from bench.evaluation.metrics import token_accuracy
from bench.evaluation.probing import BlockHealth, health_of
from bench.evaluation.record_kinds import BUILT_IN, AbilityCell
from editors.base import Editor, EditSample
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch


@dataclass(frozen=True, kw_only=True)
class AbilityRun:
    """The results of asking a model."""

    rows: list[AbilityRow]
    seconds: dict[str, float]  # by phase
    health: list[BlockHealth] = field(default_factory=list)
    # Token accuracy of the edit requests after the last edit, in [0, 1]: an editor that learns
    # nothing loses no ability.
    reliability: float | None = None


def run_unedited(
    cell: AbilityCell,
    lm: LanguageModel,
    sets: Mapping[str, LoadedSet],
    *,
    batch_size: int = BATCH_SIZE,
    checkpointer: Checkpointer | None = None,
) -> AbilityRun:
    """Ask the model as it is; StoppedEarly on request."""
    clock, checkpointer = Clock(lm.device), checkpointer or Checkpointer()
    questions = _questions(cell, lm, sets)
    steering = _before_batches(checkpointer.check, unsteered)
    with clock.phase("ask"):
        rows = _asked(cell, lm, questions, steering, batch_size)
    return AbilityRun(rows=rows, seconds=clock.seconds)


def run_edited(
    cell: AbilityCell,
    editor: Editor[Any],
    samples: Sequence[EditSample],
    sets: Mapping[str, LoadedSet],
    *,
    batch_size: int = BATCH_SIZE,
    checkpointer: Checkpointer | None = None,
) -> AbilityRun:
    """Edit the first n samples of the seed's draw, one after another, and ask.

    The editor is reset before, and however it ends. Edits of a checkpoint are not applied again.

    Raises:
        ValueError: a cell without edits, or fewer samples than edits.
        StoppedEarly: on request.
    """
    edits = cell.edits
    if edits is None or len(samples) < edits.n_edits:
        raise ValueError(f"{cell.describe()}: got {len(samples)} samples to edit.")
    lm, checkpointer = editor.lm, checkpointer or Checkpointer()
    clock = Clock(lm.device)
    sequence = EditSequence(editor, clock, checkpointer)
    questions = _questions(cell, lm, sets)
    block = draw(samples, seed=edits.seed, limit=edits.n_edits)
    requests = [sample.request for sample in block]
    editor.reset()
    before = predict(lm, requests, batch_size=batch_size)
    steering = _before_batches(sequence.after_batch, editor.steering)
    try:
        sequence.resume(checkpointer.read())
        sequence.edit(requests)
        after = predict(
            lm, requests, steering, retrieval_text="teacher_forced", batch_size=batch_size
        )
        with clock.phase("ask"):
            rows = _asked(cell, lm, questions, steering, batch_size)
    finally:
        editor.reset()
    return AbilityRun(
        rows=rows,
        seconds=clock.seconds,
        health=[health_of(0, block, before, after, editor, checkpointer.check)],
        reliability=fmean(token_accuracy(a.predicted_ids, a.target_ids) for a in after),
    )


def _before_batches(act: Callable[[], None], steering: Steering) -> Steering:
    """Steering that calls `act` before every batch."""

    def acting(batch: TokenBatch) -> AbstractContextManager[None]:
        act()
        return steering(batch)

    return acting


def _questions(
    cell: AbilityCell, lm: LanguageModel, sets: Mapping[str, LoadedSet]
) -> dict[str, Numbered]:
    """The questions of each set, refused before the first edit where they cannot be scored."""
    questions: dict[str, Numbered] = {
        key: chosen(loaded, cell.task_limit) for key, loaded in sets.items()
    }
    asking.check_answers(lm, questions)
    if cell.scoring == "paper":
        for options in {item.options for part in questions.values() for _, item in part}:
            asking.first_tokens(lm, options)
    return questions


def _asked(
    cell: AbilityCell,
    lm: LanguageModel,
    questions: Mapping[str, Numbered],
    steering: Steering,
    batch_size: int,
) -> list[AbilityRow]:
    if cell.scoring == "lm-eval":
        from bench.evaluation.general_ability import lm_eval_harness

        return lm_eval_harness.ask(
            lm, questions, steering, built_in=cell.wording == BUILT_IN, batch_size=batch_size
        )
    if cell.scoring == "promptbench":
        from bench.evaluation.general_ability import promptbench_harness

        return promptbench_harness.ask(lm, questions, steering, batch_size=batch_size)
    return [
        row
        for key, part in questions.items()
        for row in asking.ask(lm, key, part, steering, batch_size=batch_size)
    ]
