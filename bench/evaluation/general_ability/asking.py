"""Questions asked the way of RECIPE's released code (scoring `paper`).

Options are scored by their first token, answers in words by their perplexity. Every forward is
steered with the full prompt as retrieval text, that of a forced answer with the answer but its last
token too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch

from bench.evaluation.general_ability.scoring import (
    AbilityRow,
    Numbered,
    choice_mark,
    reading_mark,
    row_of,
)
from bench.evaluation.general_ability.sets import SETS, AbilityItem
from bench.evaluation.inference import (
    BATCH_SIZE,
    Steering,
    ask_in_batches,
    bare,
    generate,
    predict,
)
from bench.evaluation.metrics import MAX_ANSWER_TOKENS
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch, context_ids, placed, target_ids, text_ids, text_of

# Positions left free in every context, of the unedited model too, so that all editors read the same
# prompts: some put a prompt or a fact in front. Ours.
HEADROOM = 64
_SHOWN = 60  # characters of an answer in an error
_NO_CHARACTER = "\ufffd"  # what a part of a character is decoded to


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

    return ask_in_batches(items, partial(bare, lm, template=None), answer, steering, batch_size)


def first_tokens(lm: LanguageModel, options: tuple[str, ...]) -> list[int]:
    """The id that each option is scored by, the option as it follows its prompt.

    A sentencepiece tokenizer takes a bare option for the beginning of a word, as in the released
    code. Options that begin with the same token are a ValueError.
    """
    ids = [
        target_ids(lm.tokenizer, option)[0]
        if option.startswith(" ")
        else text_ids(lm.tokenizer, option)[0]
        for option in options
    ]
    if len(set(ids)) < len(ids):
        raise ValueError(
            f"The tokenizer of {lm.name} begins several of the options {', '.join(options)} with "
            "one token, so that scoring=paper cannot tell them apart; take --scoring lm-eval."
        )
    return ids


def check_answers(lm: LanguageModel, sets: Mapping[str, Numbered]) -> None:
    """Refuse options and gold answers without tokens, or that leave no room for a prompt."""
    most = context_of(lm) - 1
    for key, questions in sets.items():
        asked = {
            text: index for index, item in questions for text in item.options or (item.target,)
        }
        for text, index in asked.items():
            tokens = len(target_ids(lm.tokenizer, text)) if text.strip() else 0
            if not 1 <= tokens <= most:
                raise ValueError(
                    f"{SETS[key].label}, question {index}: wanted answers of 1 to {most} tokens of "
                    f"{lm.name}, got {tokens} of {text[:_SHOWN]!r}."
                )


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
    while prompt and (excess := len(context_ids(lm.tokenizer, prompt)) - room) > 0:
        # Whole characters go: the first token that stays may begin inside of one.
        text = text_of(lm.tokenizer, text_ids(lm.tokenizer, prompt)[excess:])
        prompt = prompt[-min(len(text.lstrip(_NO_CHARACTER)), len(prompt) - 1) or len(prompt) :]
    return item if prompt == item.prompt else replace(item, prompt=prompt)
