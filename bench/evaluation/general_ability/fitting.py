"""Prompts that are longer than a model's context lose words at their beginning."""

from __future__ import annotations

from dataclasses import replace

from bench.evaluation.general_ability.items import AbilityItem
from bench.evaluation.metrics import MAX_ANSWER_TOKENS
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import prompt_ids, target_ids

# Positions left free in every context, of the unedited model too, so that all editors read the same
# prompts: some put a prompt or a fact in front. Ours.
HEADROOM = 64


def context_of(lm: LanguageModel) -> int:
    """Tokens that a prompt with its answer may have."""
    return int(lm.model.config.max_position_embeddings) - HEADROOM


def fitted(
    lm: LanguageModel, item: AbilityItem, *, answer_tokens: int = MAX_ANSWER_TOKENS
) -> AbilityItem:
    """The item with a prompt that fits with its answer; the same item where it does already.

    What is cut is cut from the text, so that retrieval sees the prompt that the model reads.

    Raises:
        ValueError: a context that has no room for a prompt.
    """
    answer = max(answer_tokens, len(target_ids(lm.tokenizer, item.target)))
    room = context_of(lm) - answer
    if room < 1:
        raise ValueError(
            f"General ability needs a context of more than {HEADROOM + answer} tokens, got "
            f"{context_of(lm) + HEADROOM} tokens of {lm.name}."
        )
    prompt = item.prompt
    excess = len(prompt_ids(lm.tokenizer, prompt)) - room
    while excess > 0:
        kept = lm.tokenizer(prompt, add_special_tokens=False)["input_ids"][excess:]
        prompt = str(lm.tokenizer.decode(kept))
        excess = len(prompt_ids(lm.tokenizer, prompt)) - room
    return item if prompt == item.prompt else replace(item, prompt=prompt)
