"""Greedy decoding with a key-value cache over right-padded prompts of unequal lengths."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Stop:
    """What ends an answer by itself: an id (not returned) or a pattern in the decoded text."""

    ids: frozenset[int] = frozenset()
    pattern: re.Pattern[str] | None = None

    @classmethod
    def natural(
        cls, tokenizer: PreTrainedTokenizerBase, pattern: re.Pattern[str] | None = None
    ) -> Stop:
        """Stop at the tokenizer's end-of-text and document-start ids, and at `pattern`."""
        special = (tokenizer.eos_token_id, tokenizer.bos_token_id)
        return cls(ids=frozenset(int(i) for i in special if i is not None), pattern=pattern)

    def ends(self, tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> bool:
        """Whether the text of `ids` holds the pattern."""
        return self.pattern is not None and bool(self.pattern.search(text_of(tokenizer, ids)))


def text_of(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of generated ids, without special tokens."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=True))


@torch.inference_mode()
def greedy(
    lm: LanguageModel, batch: TokenBatch, *, max_new_tokens: int, stop: Stop
) -> list[list[int]]:
    """Greedy continuation ids of each prompt, at most `max_new_tokens` of them.

    Call it inside `editor.steering(batch)`. The base transformer is called once with the whole
    batch (prefill) and then with one column of ids [B, 1] per step; every call carries
    `attention_mask` over all columns so far, explicit `position_ids` that continue each row's own
    prompt, and the same `past_key_values` object. A hook that lengthens the prefill must lengthen
    the mask and the positions of the later calls alike.

    Rows never influence each other: the result of a row is that of decoding it alone, which is
    that of teacher forcing it with its own continuation.

    Raises:
        ValueError: rows that carry target tokens, or that would outgrow the model's context.
    """
    from transformers import DynamicCache

    _check(lm, batch, max_new_tokens)
    cache = DynamicCache(config=lm.model.config)
    rows = torch.arange(len(batch), device=lm.device)
    lengths = torch.tensor(batch.prompt_lengths, device=lm.device)
    mask = batch.attention_mask
    hidden = _forward(lm, batch.input_ids, mask, batch.position_ids, cache)
    last = hidden[rows, lengths - 1]  # [B, d]
    outputs: list[list[int]] = [[] for _ in range(len(batch))]
    running = [True] * len(batch)
    for step in range(max_new_tokens):
        chosen = lm.model.lm_head(last).argmax(-1)  # [B]
        _append(lm.tokenizer, chosen.tolist(), outputs, running, stop)
        if not any(running) or step == max_new_tokens - 1:
            break
        mask = torch.cat([mask, mask.new_ones(len(batch), 1)], dim=1)
        positions = (lengths + step)[:, None]
        last = _forward(lm, chosen[:, None], mask, positions, cache)[:, -1]
    return outputs


def _check(lm: LanguageModel, batch: TokenBatch, max_new_tokens: int) -> None:
    if any(batch.target_ids):
        raise ValueError("Generation continues bare prompts, but the batch carries target tokens.")
    context = int(lm.model.config.max_position_embeddings)
    longest = max(batch.prompt_lengths)
    if longest + max_new_tokens > context:
        raise ValueError(
            f"A prompt of {longest} tokens with {max_new_tokens} new ones does not fit "
            f"the context of {context} tokens of {lm.name}."
        )


def _forward(
    lm: LanguageModel, ids: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache
) -> Tensor:
    """Hidden states [B, T, d] of the columns `ids`, appended to `cache`."""
    hidden: Tensor = lm.base(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    return hidden


def _append(
    tokenizer: PreTrainedTokenizerBase,
    chosen: Sequence[int],
    outputs: list[list[int]],
    running: list[bool],
    stop: Stop,
) -> None:
    """Add each running row's next id and mark the rows that stop."""
    for row, token in enumerate(chosen):
        if not running[row]:
            continue
        if token in stop.ids:
            running[row] = False
            continue
        outputs[row].append(token)
        running[row] = not stop.ends(tokenizer, outputs[row])
