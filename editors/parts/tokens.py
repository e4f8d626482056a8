"""Text to right-padded batches: the only place where prompts and targets become ids.

Targets are tokenised on their own, with one leading space and no special tokens, and are joined to
the prompt by ids; a target can so never contain BOS, and labels cannot shift at the border.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


Ids = Sequence[int]
Pair = tuple[Ids, Ids]  # (prompt, target) ids of the language model

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
    """Ids of a target after exactly one space, without special tokens.

    A sentencepiece tokenizer puts a space in front of every text itself, some of them even in front
    of a text that begins with one.
    """
    text = target.lstrip()
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    if ids and str(tokenizer.convert_ids_to_tokens(ids[0])).startswith(SENTENCEPIECE_SPACE):
        return ids
    return list(tokenizer(f" {text}", add_special_tokens=False)["input_ids"])


# Questions repeat: before the edits, and after each number of edits.
@lru_cache(maxsize=1 << 16)
def _cached_prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> tuple[int, ...]:
    return tuple(prompt_ids(tokenizer, prompt))


@lru_cache(maxsize=1 << 16)
def _cached_target_ids(tokenizer: PreTrainedTokenizerBase, target: str) -> tuple[int, ...]:
    return tuple(target_ids(tokenizer, target))


def joint(tokenizer: PreTrainedTokenizerBase) -> str:
    """What must end a text so that ids of another text can follow as if after a space.

    A sentencepiece tokenizer begins the second text with a space by itself.
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
    prompts = [_cached_prompt_ids(tokenizer, prompt) for prompt, _ in pairs]
    targets = [_cached_target_ids(tokenizer, target) if target else () for _, target in pairs]
    texts = [prompt for prompt, _ in pairs]
    if retrieval_text == "teacher_forced":
        texts = [seen_text(tokenizer, *pair) for pair in zip(texts, targets, strict=True)]
    return batch_of_ids(prompts, targets, texts, padding=pad_id(tokenizer), device=device)


def batch_of_ids(
    prompts: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    texts: Sequence[str],
    *,
    padding: int,
    device: torch.device,
) -> TokenBatch:
    """Batch of rows that are ids already."""
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


def subject_last(
    tokenizer: PreTrainedTokenizerBase, prompt: str, subject: str, *, template: str = "{}"
) -> int:
    """Index of the subject's last token in the ids of `template` filled with `prompt`.

    The subject's first occurrence in the prompt counts (never one in the template's own text); its
    last token is the last whose characters overlap it. This holds for every fast
    tokenizer, with or without BOS, and also where the token swallows what follows the subject.
    A subject that is not in the prompt is looked up at the prompt's last token.

    Raises:
        ValueError: the tokenizer is not a fast one and knows no character offsets.
    """
    if not tokenizer.is_fast:
        raise ValueError(
            f"Looking up the subject needs a fast tokenizer with character offsets, "
            f"got {type(tokenizer).__name__}."
        )
    start = template.index("{}")
    text = template.replace("{}", prompt, 1)
    begin, end = _span(prompt, subject)
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    overlapping = [
        index
        for index, (first, last) in enumerate(offsets)
        if max(first, start + begin) < min(last, start + end)
    ]
    return overlapping[-1] if overlapping else len(offsets) - 1


def subject_in_prompt(prompt: str, subject: str) -> bool:
    """Whether `subject_last` finds the subject itself, literally."""
    return bool(subject) and subject in prompt


def _span(prompt: str, subject: str) -> tuple[int, int]:
    """Characters of the subject's first occurrence, else of the prompt's last character."""
    if not subject_in_prompt(prompt, subject):
        return len(prompt) - 1, len(prompt)
    begin = prompt.index(subject)
    return begin, begin + len(subject)


def pack_texts(texts: Sequence[str], name: str) -> dict[str, Tensor]:
    """UTF-8 bytes of all texts in one row, and the number of bytes of each, under two names."""
    encoded = [text.encode() for text in texts]
    return {
        f"{name}.bytes": torch.tensor(list(b"".join(encoded)), dtype=torch.uint8),
        f"{name}.lengths": torch.tensor([len(text) for text in encoded], dtype=torch.long),
    }


def unpack_texts(state: Mapping[str, Tensor], name: str) -> list[str]:
    """The texts that `pack_texts` put into a state under `name`."""
    parts = state[f"{name}.bytes"].split(state[f"{name}.lengths"].tolist())
    return [bytes(part.tolist()).decode() for part in parts]
