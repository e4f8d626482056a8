"""Scoring of RECIPE's released code: options by their first token, answers by their perplexity.

Every forward is steered with the full prompt as retrieval text, that of a forced answer with the
answer but its last token too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerBase

from bench.evaluation.general_ability.fitting import fitted
from bench.evaluation.general_ability.items import AbilityItem
from bench.evaluation.general_ability.rows import (
    AbilityRow,
    Mark,
    Numbered,
    choice_mark,
    reading_mark,
    row_of,
)
from bench.evaluation.inference import BATCH_SIZE, Steering, ask_in_batches, generate, predict
from editors.parts.generation import text_of
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch, batch_of, placed, target_ids


def ask(
    lm: LanguageModel,
    task: str,
    questions: Numbered,
    steering: Steering,
    *,
    batch_size: int = BATCH_SIZE,
) -> list[AbilityRow]:
    """The answered rows of one task's questions, all with options or all without.

    Raises:
        ValueError: two options of an item begin with the same token, or a context too short to ask
            anything in.
    """
    items = [fitted(lm, item) for _, item in questions]
    answered = _choose if items and items[0].options else _read
    marks = answered(lm, items, steering, batch_size)
    return [
        row_of(task, index, item, mark)
        for (index, item), mark in zip(questions, marks, strict=True)
    ]


def first_token(tokenizer: PreTrainedTokenizerBase, option: str) -> int:
    """The id that an option is scored by, the option as it follows its prompt.

    A sentencepiece tokenizer takes a bare option for the beginning of a word, as in the released
    code.
    """
    if option.startswith(" "):
        return target_ids(tokenizer, option)[0]
    return int(tokenizer(option, add_special_tokens=False)["input_ids"][0])


def check_options(lm: LanguageModel, questions: Numbered) -> None:
    """Refuse questions whose options this model's tokenizer cannot tell apart.

    Raises:
        ValueError: two options of an item begin with the same token.
    """
    for options in {item.options for _, item in questions}:
        _first_tokens(lm, options)


@torch.no_grad()
def choices(
    lm: LanguageModel,
    items: Sequence[AbilityItem],
    steering: Steering,
    *,
    batch_size: int = BATCH_SIZE,
) -> list[int | None]:
    """Index of the option whose first token has the largest logit at the prompt's last position.

    None where the model answers no numbers.

    Raises:
        ValueError: two options of an item begin with the same token.
    """
    ids = {options: _first_tokens(lm, options) for options in {item.options for item in items}}

    def tokenised(chunk: Sequence[AbilityItem]) -> TokenBatch:
        return batch_of(lm.tokenizer, [(item.prompt, "") for item in chunk], device=lm.device)

    def answer(batch: TokenBatch, chunk: Sequence[AbilityItem]) -> list[int | None]:
        last = placed(batch.prompt_lengths, lm.device) - 1
        rows = torch.arange(len(batch), device=lm.device)
        logits = lm.head(lm.hidden_states(batch)[rows, last])  # [B, V]
        return [
            _largest(row[ids[item.options]].tolist())
            for row, item in zip(logits, chunk, strict=True)
        ]

    return ask_in_batches(items, tokenised, answer, steering, batch_size)


def _first_tokens(lm: LanguageModel, options: tuple[str, ...]) -> list[int]:
    found = [first_token(lm.tokenizer, option) for option in options]
    if len(set(found)) < len(found):
        raise ValueError(
            f"The tokenizer of {lm.name} begins several of the options {', '.join(options)} with "
            "one token, so that scoring=paper cannot tell them apart; take --scoring lm-eval."
        )
    return found


def _largest(scores: Sequence[float]) -> int | None:
    if not all(map(math.isfinite, scores)):
        return None
    return max(range(len(scores)), key=scores.__getitem__)


def _choose(
    lm: LanguageModel, items: Sequence[AbilityItem], steering: Steering, batch_size: int
) -> list[Mark]:
    predictions = choices(lm, items, steering, batch_size=batch_size)
    return [choice_mark(item, p) for item, p in zip(items, predictions, strict=True)]


def _read(
    lm: LanguageModel, items: Sequence[AbilityItem], steering: Steering, batch_size: int
) -> list[Mark]:
    forced = predict(lm, items, steering, retrieval_text="teacher_forced", batch_size=batch_size)
    decoded = generate(lm, items, steering, batch_size=batch_size)
    return [
        reading_mark(
            item,
            text_of(lm.tokenizer, ids),
            log_probability=one.log_probability,
            tokens=len(one.target_ids),
        )
        for item, one, ids in zip(items, forced, decoded, strict=True)
    ]
