"""MLP inputs of unrelated text, to which new neurons should not answer."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from editors.parts.language_model import LanguageModel
from editors.parts.patches.last_block import mlp_inputs
from editors.parts.tokens import batch_of_ids, pad_id, prompt_ids

# Floats that are kept, 128 MiB in float32: all of the embedded world's lines fit, and of a large
# corpus few lines come twice. Ours.
_KEPT = 2**25
MEMORY_ROWS = 40_000  # of the original mode, as many as the original takes examples
_VALIDATION_EVERY = 10  # every tenth line goes to the stopping rule; ours


_State = tuple[tuple[int, int], ...]


class _Kept:
    """MLP inputs by (line, dtype), as long as a model's parameters stay what they are."""

    def __init__(self, state: _State) -> None:
        self.state = state
        self._rows: dict[tuple[str, torch.dtype], Tensor] = {}
        self._size = 0

    def get(self, line: str, dtype: torch.dtype) -> Tensor | None:
        return self._rows.get((line, dtype))

    def put(self, line: str, rows: Tensor) -> None:
        if self._size + rows.numel() <= _KEPT:
            self._rows[line, rows.dtype] = rows
            self._size += rows.numel()


# One store for each model: every editor of it reads the same lines.
_STORES: WeakKeyDictionary[nn.Module, _Kept] = WeakKeyDictionary()


def _store_of(model: nn.Module) -> _Kept:
    """The store of a model whose parameters nobody has written to since it was filled."""
    state = tuple((p.data_ptr(), p._version) for p in model.parameters())  # noqa: SLF001 - no other way
    if model not in _STORES or _STORES[model].state != state:
        _STORES[model] = _Kept(state)
    return _STORES[model]


class MemoryText:
    """Lines of text as inputs of the last block's MLP; edits never change these.

    Every line is run alone, so that its numbers do not depend on which lines came before.
    """

    def __init__(self, lm: LanguageModel, lines: Sequence[str], *, dtype: torch.dtype) -> None:
        self._lm = lm
        self._lines = lines
        self._dtype = dtype
        self._kept = _store_of(lm.model)

    def __len__(self) -> int:
        return len(self._lines)

    def inputs(self, number: int) -> Tensor:
        """MLP inputs [T, d] of a line, cut to the model's context."""
        line = self._lines[number]
        kept = self._kept.get(line, self._dtype)
        if kept is not None:
            return kept
        tokenizer, context = self._lm.tokenizer, self._lm.model.config.max_position_embeddings
        ids = prompt_ids(tokenizer, line)[:context]
        row = batch_of_ids([ids], [[]], [""], padding=pad_id(tokenizer), device=self._lm.device)
        found = mlp_inputs(self._lm, row, dtype=self._dtype)
        self._kept.put(line, found)
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
