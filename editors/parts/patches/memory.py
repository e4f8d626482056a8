"""MLP inputs of unrelated text, to which new neurons should not answer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from editors.parts.language_model import LanguageModel
from editors.parts.patches.last_block import mlp_inputs
from editors.parts.tokens import batch_of_ids, pad_id, prompt_ids

# Floats that are kept, 128 MiB in float32: all of the embedded world's lines fit, and of a large
# corpus few lines come twice. Ours.
_KEPT = 2**25
MEMORY_ROWS = 40_000  # of the original mode, as many as the original takes examples
_VALIDATION_EVERY = 10  # every tenth line goes to the stopping rule; ours


class MemoryText:
    """Lines of text as inputs of the last block's MLP; edits never change these.

    Every line is run alone, so that its numbers do not depend on which lines came before.
    """

    def __init__(self, lm: LanguageModel, lines: Sequence[str], *, dtype: torch.dtype) -> None:
        self._lm = lm
        self._lines = lines
        self._dtype = dtype
        self._kept: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def inputs(self, number: int) -> Tensor:
        """MLP inputs [T, d] of a line, cut to the model's context."""
        if number in self._kept:
            return self._kept[number]
        tokenizer, context = self._lm.tokenizer, self._lm.model.config.max_position_embeddings
        ids = prompt_ids(tokenizer, self._lines[number])[:context]
        row = batch_of_ids([ids], [[]], [""], padding=pad_id(tokenizer), device=self._lm.device)
        found = mlp_inputs(self._lm, row, dtype=self._dtype)
        if sum(kept.numel() for kept in self._kept.values()) + found.numel() <= _KEPT:
            self._kept[number] = found
        return found

    def split(self) -> tuple[Tensor, Tensor]:
        """(memory [M, d], validation [M', d]) rows of the original mode, M at most 40,000."""
        parts: tuple[list[Tensor], list[Tensor]] = ([], [])
        rows = 0
        for number in range(len(self)):
            validates = number % _VALIDATION_EVERY == 0
            parts[validates].append(self.inputs(number))
            rows += 0 if validates else len(parts[0][-1])
            if rows >= MEMORY_ROWS:
                break
        memory, validation = parts
        return torch.cat(memory or validation)[:MEMORY_ROWS], torch.cat(validation)
