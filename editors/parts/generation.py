"""Greedy decoding with a key-value cache over right-padded prompts of unequal lengths."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from editors.parts.language_model import LanguageModel
from editors.parts.texts import ends_in, ends_inside
from editors.parts.tokens import TokenBatch, placed, text_of

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedTokenizerBase


class BeyondWindowError(ValueError):
    """Rows that attention's window does not hold together: each is to be decoded alone."""


@dataclass(frozen=True, kw_only=True)
class Stop:
    """What ends an answer by itself: an id (not returned) or a pattern in the decoded text."""

    ids: frozenset[int] = frozenset()
    pattern: re.Pattern[str] | None = None
    begun: bool = False  # whether nothing ends an answer before its first letter or digit
    inside: int = 0  # matches of the pattern that an answer may hold
    room: int = 0  # tokens that an answer may have in any case

    @classmethod
    def natural(
        cls,
        of: LanguageModel | PreTrainedTokenizerBase,
        pattern: re.Pattern[str] | None = None,
    ) -> Stop:
        """Stop at all ids that end a model's answers, or at those of a tokenizer, and at `pattern`.

        They are those of the end of text and of the start of a document.
        """
        if isinstance(of, LanguageModel):
            return cls(ids=of.special.ends, pattern=pattern)
        ids = (of.eos_token_id, of.bos_token_id)
        return cls(ids=frozenset(int(i) for i in ids if i is not None), pattern=pattern)

    def beyond(self, targets: Sequence[str], tokens: int) -> Stop:
        """The same for one row, in which each target, of so many tokens at most, can be an answer.

        Nothing ends an answer before its first letter or digit.
        """
        pattern = self.pattern
        inside = 0 if pattern is None else max(ends_inside(t, pattern) for t in targets)
        return replace(self, begun=True, inside=inside, room=tokens)

    def ends(self, tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> bool:
        """Whether the text of `ids` holds the pattern once more than an answer may."""
        if self.pattern is None:
            return False
        text = text_of(tokenizer, ids)
        ends = ends_in(text, self.pattern) if self.begun else self.pattern.findall(text)
        return len(ends) > self.inside


@torch.inference_mode()
def greedy(
    lm: LanguageModel, batch: TokenBatch, *, max_new_tokens: int, stop: Stop | Sequence[Stop]
) -> list[list[int]]:
    """Greedy continuation ids of each prompt, at most `max_new_tokens` or its stop's room.

    `stop` is that of all rows, or one for each.

    Call it inside `editor.steering(batch)`. The base transformer is called once with the whole
    batch (prefill) and then with one column of ids [B, 1] per step; every call carries
    `attention_mask` over all columns so far, explicit `position_ids` that continue each row's own
    prompt, and the same `past_key_values` object. A hook that lengthens the prefill must lengthen
    the mask and the positions of the later calls alike.

    Rows never influence each other: the result of a row is that of decoding it alone, which is
    that of teacher forcing it with its own continuation.

    Raises:
        ValueError: rows that carry target tokens, or that would outgrow the model's context.
        BeyondWindowError: several rows that outgrow the window of its attention.
    """
    if any(batch.target_ids):
        raise ValueError("Generation continues bare prompts, but the batch carries target tokens.")
    answers = Answers(lm, batch, max_new_tokens, stop)
    hidden, cache = _read(lm, batch, max_new_tokens)
    ends = placed(batch.prompt_lengths, lm.device)
    rows = torch.arange(len(batch), device=lm.device)
    first = lm.head(hidden[rows, ends - 1]).argmax(-1)  # [B]
    answers.extend([[token] for token in first.tolist()])
    _decode(lm, answers, cache, batch.attention_mask, ends, shrink=False)
    return answers.rows


@torch.inference_mode()
def forced_and_greedy(
    lm: LanguageModel,
    batch: TokenBatch,
    *,
    max_new_tokens: int,
    stop: Stop | Sequence[Stop],
    shrink: bool = False,
) -> tuple[Tensor, list[list[int]]]:
    """Logits [N, V] of `target_logits`, and what `greedy` answers to the bare prompts.

    One prefill serves both: as far as a row's argmax agrees with its target, teacher forcing has
    decoded it already, and decoding continues from there. Call it inside a steering that does not
    depend on targets; with `shrink`, in one that treats all rows alike, rows that have ended leave
    the batch.

    Raises:
        ValueError: rows without target tokens, or that would outgrow the model's context.
        BeyondWindowError: rows that outgrow the window of its attention.
    """
    if not all(batch.target_ids):
        raise ValueError("Teacher forcing needs a target in every row.")
    answers = Answers(lm, batch, max_new_tokens, stop)
    hidden, cache = _read(lm, batch, max_new_tokens)
    scored, columns = batch.scored_positions
    logits = lm.head(hidden[scored, columns])
    known = _agreeing(batch, logits.argmax(-1).tolist())
    answers.extend(known)
    ends = [
        prompt + len(tokens) - 1 for prompt, tokens in zip(batch.prompt_lengths, known, strict=True)
    ]
    read = placed(ends, lm.device)
    mask = batch.attention_mask * (
        torch.arange(batch.attention_mask.shape[1], device=lm.device) < read[:, None]
    )
    _decode(lm, answers, cache, mask, read, shrink=shrink)
    return logits, answers.rows


class Answers:
    """Rows of generated ids, and which of them still grow."""

    def __init__(
        self, lm: LanguageModel, batch: TokenBatch, max_new_tokens: int, stop: Stop | Sequence[Stop]
    ) -> None:
        """Without any id; ValueError where the context has no room for `max_new_tokens`."""
        _check_room(lm, batch, max_new_tokens)
        self.rows: list[list[int]] = [[] for _ in range(len(batch))]
        self.growing = list(range(len(batch)))
        self._stops = [stop] * len(batch) if isinstance(stop, Stop) else list(stop)
        context = int(lm.model.config.max_position_embeddings)
        self._most = [
            max(max_new_tokens, min(own.room, context - length))
            for own, length in zip(self._stops, batch.prompt_lengths, strict=True)
        ]
        self._tokenizer = lm.tokenizer

    def extend(self, tokens: Sequence[Sequence[int]]) -> None:
        """Add further ids to the rows that grow, in order; those that stop grow no more."""
        self.growing = [
            row
            for row, some in zip(self.growing, tokens, strict=True)
            if all(self._add(row, token) for token in some)
        ]

    def _add(self, number: int, token: int) -> bool:
        """Whether the row of a number continues after the token."""
        row, stop = self.rows[number], self._stops[number]
        if token in stop.ids:
            return False
        row.append(token)
        return len(row) < self._most[number] and not stop.ends(self._tokenizer, row)


def _agreeing(batch: TokenBatch, predicted: Sequence[int]) -> list[list[int]]:
    """The argmax of each row up to and with its first difference from the target."""
    rows, start = [], 0
    for target in batch.target_ids:
        tokens = list(predicted[start : start + len(target)])
        same = 0
        while same < len(target) - 1 and tokens[same] == target[same]:
            same += 1
        rows.append(tokens[: same + 1])
        start += len(target)
    return rows


def _decode(
    lm: LanguageModel,
    answers: Answers,
    cache: DynamicCache,
    mask: Tensor,
    positions: Tensor,
    *,
    shrink: bool,
) -> None:
    """Let the rows grow until all have stopped; with `shrink`, those that have leave the batch.

    The last ids of the answers have not been read yet: their positions are [B]. `cache` has keys
    and values of the columns so far, `mask` [B, T] is over these.
    """
    there = list(range(len(mask)))  # the rows of the batch
    while answers.growing:
        if shrink and 2 * len(answers.growing) <= len(there):
            staying = placed([there.index(row) for row in answers.growing], lm.device)
            there = list(answers.growing)
            cache.batch_select_indices(staying)
            mask, positions = mask[staying], positions[staying]
        ids = [(answers.rows[row] or [0])[-1] for row in there]
        mask = torch.cat([mask, mask.new_ones(len(there), 1)], dim=1)
        column = placed(ids, lm.device)[:, None]
        hidden = _forward(lm, column, mask, positions[:, None], cache)[:, -1]
        chosen = dict(zip(there, lm.head(hidden).argmax(-1).tolist(), strict=True))
        growing = set(answers.growing)  # only these move on; others may be at the context's end
        positions = positions + torch.tensor([row in growing for row in there]).to(positions)
        answers.extend([[chosen[row]] for row in answers.growing])


def _check_window(lm: LanguageModel, batch: TokenBatch, columns: int) -> None:
    """Refuse rows that attention's window, where some layer has one, does not hold together.

    The cache holds the last columns, and those of a short row are padding.
    """
    window: int | None = lm.model.config.to_dict().get("sliding_window")
    if window is not None and columns >= window and (len(batch) > 1 or any(batch.target_ids)):
        raise BeyondWindowError(
            f"{lm.name} looks back at {window} tokens: rows of up to {columns} are decoded alone."
        )


def _check_room(lm: LanguageModel, batch: TokenBatch, max_new_tokens: int) -> None:
    _check_window(lm, batch, batch.attention_mask.shape[1] + max_new_tokens)
    context = int(lm.model.config.max_position_embeddings)
    longest = max(batch.prompt_lengths)
    if longest + max_new_tokens > context:
        raise ValueError(
            f"A prompt of {longest} tokens with {max_new_tokens} new ones does not fit "
            f"the context of {context} tokens of {lm.name}."
        )


def _read(lm: LanguageModel, batch: TokenBatch, max_new_tokens: int) -> tuple[Tensor, DynamicCache]:
    """Hidden states [B, T, d] of a batch, and the cache that reading it has filled."""
    from transformers import DynamicCache

    cache = DynamicCache(config=lm.model.config)
    hidden = _forward(lm, batch.input_ids, batch.attention_mask, batch.position_ids, cache)
    # Steering may have put a prompt in front.
    _check_window(lm, batch, cache.get_seq_length() + max_new_tokens)
    return hidden, cache


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
    return hidden.to(ids.device)  # another device where blocks are spread
