"""Text to right-padded batches: the one place where prompts and targets become ids.

Targets are tokenised on their own, with one leading space and no special tokens, and are joined to
the prompt by ids; a target can so never contain BOS, and labels cannot shift at the border.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SENTENCEPIECE_SPACE = "\u2581"

RetrievalText = Literal["teacher_forced", "prompt_only"]


@dataclass(frozen=True)
class TokenBatch:
    """B rows of prompt ids + target ids but the last, right-padded to T.

    A row scores its target: the logits at `prompt_length - 1 + j` predict target token j.
    `texts` is what a retrieval editor looks up, one string a row.
    """

    input_ids: Tensor  # [B, T]
    attention_mask: Tensor  # [B, T], 1 on real tokens
    prompt_lengths: tuple[int, ...]
    target_ids: tuple[tuple[int, ...], ...]  # may be empty rows: a prompt to continue
    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.prompt_lengths)

    @property
    def position_ids(self) -> Tensor:
        """Explicit positions [B, T], 0 at each row's first token."""
        batch, length = self.input_ids.shape
        return torch.arange(length, device=self.input_ids.device).expand(batch, length)

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Real tokens of each row."""
        return tuple(
            prompt + max(len(target) - 1, 0)
            for prompt, target in zip(self.prompt_lengths, self.target_ids, strict=True)
        )

    @cached_property
    def scored_positions(self) -> tuple[Tensor, Tensor]:
        """(rows [N], columns [N]) of the positions that predict target tokens, in row order."""
        rows = [i for i, target in enumerate(self.target_ids) for _ in target]
        columns = [
            prompt - 1 + j
            for prompt, target in zip(self.prompt_lengths, self.target_ids, strict=True)
            for j in range(len(target))
        ]
        device = self.input_ids.device
        return placed(rows, device), placed(columns, device)

    @cached_property
    def labels(self) -> Tensor:
        """Target ids [N], aligned with `scored_positions`."""
        flat = [token for target in self.target_ids for token in target]
        return placed(flat, self.input_ids.device)

    @cached_property
    def target_counts(self) -> Tensor:
        """Number of target tokens [B]; 0 for a prompt to continue."""
        return placed([len(target) for target in self.target_ids], self.input_ids.device)

    @property
    def prompts(self) -> TokenBatch:
        """The same rows without their targets: prompts to continue."""
        columns = torch.arange(max(self.prompt_lengths), device=self.input_ids.device)
        ends = placed(self.prompt_lengths, self.input_ids.device)
        return replace(
            self,
            input_ids=self.input_ids[:, : len(columns)],
            attention_mask=(columns < ends[:, None]).to(self.attention_mask),
            target_ids=((),) * len(self),
        )


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Ids of a prompt with the tokenizer's own special tokens (BOS on LLaMA, none on GPT)."""
    return list(tokenizer(prompt)["input_ids"])


def target_ids(tokenizer: PreTrainedTokenizerBase, target: str) -> list[int]:
    """Ids of a target behind exactly one space, without special tokens.

    A sentencepiece tokenizer puts a space in front of every text itself; some of them would put it
    in front of one that is there already.
    """
    text = target.lstrip()
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    if ids and str(tokenizer.convert_ids_to_tokens(ids[0])).startswith(SENTENCEPIECE_SPACE):
        return ids
    return list(tokenizer(f" {text}", add_special_tokens=False)["input_ids"])


# The same questions are asked before and after edits, and after many numbers of them.
@lru_cache(maxsize=1 << 16)
def _kept_prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> tuple[int, ...]:
    return tuple(prompt_ids(tokenizer, prompt))


@lru_cache(maxsize=1 << 16)
def _kept_target_ids(tokenizer: PreTrainedTokenizerBase, target: str) -> tuple[int, ...]:
    return tuple(target_ids(tokenizer, target))


def joint(tokenizer: PreTrainedTokenizerBase) -> str:
    """What ends a text so that ids of another one behind it read as if a space were between them.

    A sentencepiece tokenizer begins the other one with a space by itself.
    """
    ids = tokenizer("a", add_special_tokens=False)["input_ids"]
    own = str(tokenizer.convert_ids_to_tokens(ids[0])).startswith(SENTENCEPIECE_SPACE)
    return "" if own else " "


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that fills short rows; it is masked, so its value never matters."""
    if tokenizer.pad_token_id is not None:
        return int(tokenizer.pad_token_id)
    return int(tokenizer.eos_token_id or 0)


def batch_of(
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[tuple[str, str]],
    *,
    device: torch.device,
    retrieval_text: RetrievalText = "prompt_only",
) -> TokenBatch:
    """Batch of (prompt, target) pairs; an empty target makes a row to continue.

    `retrieval_text` is `teacher_forced` (the prompt and all target tokens but the last, as RECIPE's
    released code retrieves) or `prompt_only`.
    """
    prompts = [_kept_prompt_ids(tokenizer, prompt) for prompt, _ in pairs]
    targets = [_kept_target_ids(tokenizer, target) if target else () for _, target in pairs]
    texts = [prompt for prompt, _ in pairs]
    if retrieval_text == "teacher_forced":
        texts = [seen_text(tokenizer, *one) for one in zip(texts, targets, strict=True)]
    return batch_of_ids(prompts, targets, texts, padding=pad_id(tokenizer), device=device)


def batch_of_ids(
    prompts: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    texts: Sequence[str],
    *,
    padding: int,
    device: torch.device,
) -> TokenBatch:
    """Batch of ready-made ids, for callers that hold ids already."""
    rows = [[*p, *t[:-1]] for p, t in zip(prompts, targets, strict=True)]
    width = max(map(len, rows))
    ids = [row + [padding] * (width - len(row)) for row in rows]
    mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
    return TokenBatch(
        input_ids=placed(ids, device),
        attention_mask=placed(mask, device),
        prompt_lengths=tuple(map(len, prompts)),
        target_ids=tuple(tuple(t) for t in targets),
        texts=tuple(texts),
    )


def placed(values: Sequence[int] | Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Whole numbers on a device; a GPU fetches them from pinned memory while the host goes on."""
    tensor = torch.tensor(values, dtype=torch.long)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def occurrences(values: Tensor, kinds: int) -> Tensor:
    """How often each of 0 .. kinds - 1 occurs [kinds]; unlike `bincount` no GPU is waited for."""
    return values.new_zeros(kinds).index_add(0, values, torch.ones_like(values))


def seen_text(tokenizer: PreTrainedTokenizerBase, prompt: str, target: Sequence[int]) -> str:
    """What teacher forcing shows of a pair: the prompt and all target tokens but the last."""
    return prompt + continuation(tokenizer, target[:-1])


def continuation(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Text of the first ids of a target, with the space that joins it to the prompt."""
    if not ids:
        return ""
    text = str(tokenizer.decode(list(ids), skip_special_tokens=True))
    return text if text.startswith(" ") else " " + text
