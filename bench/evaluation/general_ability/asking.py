"""One row of Table 2: n edits, then every question, then reset.

Questions are asked the way of RECIPE's released code (scoring `paper`), or through a harness.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean
from typing import Any

import torch

from bench.core.numerics import Clock, draw
from bench.evaluation.checkpointing import Checkpointer, EditSequence
from bench.evaluation.general_ability.scoring import (
    AbilityRow,
    Numbered,
    choice_mark,
    reading_mark,
    row_of,
)
from bench.evaluation.general_ability.sets import AbilityItem, LoadedSet, chosen
from bench.evaluation.inference import (
    BATCH_SIZE,
    Steering,
    ask_in_batches,
    bare,
    generate,
    predict,
    unsteered,
)
from bench.evaluation.metrics import MAX_ANSWER_TOKENS, token_accuracy
from bench.evaluation.probing import BlockHealth, health_of
from bench.evaluation.record_kinds import BUILT_IN, AbilityCell
from editors.base import Editor, EditSample
from editors.parts.generation import text_of
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch, placed, prompt_ids, target_ids


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
    if cell.scoring == "paper":
        for options in {item.options for part in questions.values() for _, item in part}:
            first_tokens(lm, options)
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
        for row in ask(lm, key, part, steering, batch_size=batch_size)
    ]


# ---- scoring `paper` ---------------------------------------------------------------------------
#
# Options are scored by their first token, answers in words by their perplexity. Every forward is
# steered with the full prompt as retrieval text, that of a forced answer with the answer but its
# last token too.

# Positions left free in every context, of the unedited model too, so that all editors read the same
# prompts: some put a prompt or a fact in front. Ours.
HEADROOM = 64


def ask(
    lm: LanguageModel,
    task: str,
    questions: Numbered,
    steering: Steering,
    *,
    batch_size: int = BATCH_SIZE,
) -> list[AbilityRow]:
    """The answered rows of one task's questions, all with options or all without."""
    items = [fitted(lm, item) for _, item in questions]
    if items and items[0].options:
        predictions = choices(lm, items, steering, batch_size=batch_size)
        marks = list(map(choice_mark, items, predictions))
    else:
        forced = predict(
            lm, items, steering, retrieval_text="teacher_forced", batch_size=batch_size
        )
        decoded = generate(lm, items, steering, batch_size=batch_size)
        marks = [
            reading_mark(
                item,
                text_of(lm.tokenizer, ids),
                log_probability=answer.log_probability,
                tokens=len(answer.target_ids),
            )
            for item, answer, ids in zip(items, forced, decoded, strict=True)
        ]
    return [
        row_of(task, index, item, mark)
        for (index, item), mark in zip(questions, marks, strict=True)
    ]


@torch.no_grad()
def choices(
    lm: LanguageModel,
    items: Sequence[AbilityItem],
    steering: Steering,
    *,
    batch_size: int = BATCH_SIZE,
) -> list[int | None]:
    """Index of the option whose first token has the largest logit at the prompt's last position.

    None where the model's outputs are NaN. Options that begin with one token are a ValueError.
    """
    ids = {options: first_tokens(lm, options) for options in {item.options for item in items}}

    def answer(batch: TokenBatch, chunk: Sequence[AbilityItem]) -> list[int | None]:
        last = placed(batch.prompt_lengths, lm.device) - 1
        rows = torch.arange(len(batch), device=lm.device)
        logits = lm.head(lm.hidden_states(batch)[rows, last])  # [B, V]
        pairs = zip(logits, chunk, strict=True)
        return [largest(row[ids[item.options]].tolist()) for row, item in pairs]

    return ask_in_batches(items, partial(bare, lm), answer, steering, batch_size)


def first_tokens(lm: LanguageModel, options: tuple[str, ...]) -> list[int]:
    """The id that each option is scored by, the option as it follows its prompt.

    A sentencepiece tokenizer takes a bare option for the beginning of a word, as in the released
    code. Options that begin with the same token are a ValueError.
    """
    ids = [
        target_ids(lm.tokenizer, option)[0]
        if option.startswith(" ")
        else int(lm.tokenizer(option, add_special_tokens=False)["input_ids"][0])
        for option in options
    ]
    if len(set(ids)) < len(ids):
        raise ValueError(
            f"The tokenizer of {lm.name} begins several of the options {', '.join(options)} with "
            "one token, so that scoring=paper cannot tell them apart; take --scoring lm-eval."
        )
    return ids


def largest(scores: Sequence[float]) -> int | None:
    """Index of the (first) largest score; None where a score is no number."""
    if not all(map(math.isfinite, scores)):
        return None
    return max(range(len(scores)), key=scores.__getitem__)


def context_of(lm: LanguageModel) -> int:
    """Tokens that a prompt with its answer may have."""
    return int(lm.model.config.max_position_embeddings) - HEADROOM


def fitted(
    lm: LanguageModel, item: AbilityItem, *, answer_tokens: int = MAX_ANSWER_TOKENS
) -> AbilityItem:
    """The item with a prompt that fits the context with its answer, truncated on the left.

    The text itself is truncated, so that retrieval sees the prompt that the model reads. A context
    too short for any prompt is a ValueError.
    """
    answer = max(answer_tokens, len(target_ids(lm.tokenizer, item.target)))
    room = context_of(lm) - answer
    if room < 1:
        raise ValueError(
            f"General ability needs a context of more than {HEADROOM + answer} tokens, got "
            f"{context_of(lm) + HEADROOM} tokens of {lm.name}."
        )
    prompt = item.prompt
    while (excess := len(prompt_ids(lm.tokenizer, prompt)) - room) > 0:
        ids = lm.tokenizer(prompt, add_special_tokens=False)["input_ids"][excess:]
        prompt = str(lm.tokenizer.decode(ids))
    return item if prompt == item.prompt else replace(item, prompt=prompt)
