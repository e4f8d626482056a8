"""One row of Table 2: n edits, then every question, then reset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any

from bench.core.numerics import Clock, blocks, draw
from bench.evaluation.checkpointing import Checkpointer, EditSequence
from bench.evaluation.general_ability import asking
from bench.evaluation.general_ability.scoring import (
    AbilityRow,
    Numbered,
)
from bench.evaluation.general_ability.sets import AbilityItem, LoadedSet, chosen
from bench.evaluation.inference import (
    BATCH_SIZE,
    Steering,
    predict,
    unsteered,
)
from bench.evaluation.metrics import token_accuracy
from bench.evaluation.probing import BlockHealth, check_unedited, health_of
from bench.evaluation.record_kinds import BUILT_IN, RELEASED, AbilityCell
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


_DONE = "done"  # blocks of edits, in a checkpoint


@dataclass
class _Done:
    """What the finished blocks of a cell gave."""

    rows: list[AbilityRow] = field(default_factory=list)
    health: list[BlockHealth] = field(default_factory=list)
    right: list[float] = field(default_factory=list)  # of each edit request


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
    firsts = [asking.fitted(lm, part[0][1]) for part in questions.values() if part]
    check_unedited(lm, predict(lm, firsts, batch_size=batch_size))
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

    With scoring `released` every block of n samples is edited, on a model without edits, and asked.
    The editor is reset before, and however it ends. Edits of a checkpoint are not applied again.

    Raises:
        ValueError: a cell without edits, or fewer samples than edits.
        StoppedEarly: on request.
    """
    edits = cell.edits
    if edits is None or len(samples) < edits.n_edits:
        raise ValueError(f"{cell.describe()}: got {len(samples)} samples to edit.")
    checkpointer = checkpointer or Checkpointer()
    clock, questions = Clock(editor.lm.device), _questions(cell, editor.lm, sets)
    every = cell.scoring == RELEASED
    drawn = draw(samples, seed=edits.seed, limit=None if every else edits.n_edits)
    checkpoint = checkpointer.read()
    done = _Done(**checkpoint.progress.get(_DONE, {})) if checkpoint else _Done()
    for number, block in enumerate(blocks(drawn, edits.n_edits)):
        if number < len(done.health):
            continue
        facts = {_DONE: asdict(done)} if number else {}
        sequence = EditSequence(editor, clock, checkpointer, facts)
        requests = [sample.request for sample in block]
        editor.reset()
        before = predict(editor.lm, requests, batch_size=batch_size)
        check_unedited(editor.lm, before)
        steering = _before_batches(sequence.after_batch, editor.steering)
        try:
            sequence.resume(checkpoint)
            sequence.edit(requests)
            after = predict(
                editor.lm,
                requests,
                steering,
                retrieval_text="teacher_forced",
                batch_size=batch_size,
            )
            with clock.phase("ask"):
                rows = _asked(cell, editor.lm, questions, steering, batch_size)
        finally:
            editor.reset()
        checkpoint = None
        done.rows += [row | {"block": number} for row in rows] if every else rows
        done.health.append(health_of(number, block, before, after, editor, checkpointer.check))
        done.right += [token_accuracy(a.predicted_ids, a.target_ids) for a in after]
    return AbilityRun(
        rows=done.rows, seconds=clock.seconds, health=done.health, reliability=fmean(done.right)
    )  # fmt: skip


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
    if cell.scoring == RELEASED:
        questions = {k: [(i, as_released(q)) for i, q in part] for k, part in questions.items()}
    asking.check_answers(lm, questions)
    if cell.scoring in ("paper", RELEASED):
        for options in {item.options for part in questions.values() for _, item in part}:
            asking.first_tokens(lm, options)
    return questions


def as_released(item: AbilityItem) -> AbilityItem:
    """The item with the space in front of its options at the end of its prompt, as was released."""
    if not item.options or not all(option.startswith(" ") for option in item.options):
        return item
    bare = tuple(option[1:] for option in item.options)
    return replace(item, prompt=f"{item.prompt} ", options=bare)


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
