"""MLP inputs of unrelated text, to which new neurons should not answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from editors.parts.hooks import captured_input
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch, prompt_ids

# A line counts if it has this many words or more and is no heading (` = Title = `), which is how
# qizhou000/UniEdit picks lines of WikiText-103.
MIN_WORDS = 21
MAX_LINES = 100_000  # ours: as many as are read of a corpus elsewhere
MEMORY_ROWS = 40_000  # of the original mode, as many as the original takes examples
_VALIDATION_EVERY = 10  # every tenth line goes to the stopping rule; ours
# Floats in the cache, 128 MiB in float32: all of the embedded world's lines fit, and of a large
# corpus few lines come twice. Ours.
_CACHED = 2**25

_State = tuple[tuple[int, int], ...]


def long_lines(documents: Iterable[str]) -> tuple[str, ...]:
    """The running text of documents: their first long lines, without headings.

    Raises:
        ValueError: they hold no such line.
    """
    lines = tuple(islice(_running_text(documents), MAX_LINES))
    if not lines:
        raise ValueError(f"The corpus has no line of at least {MIN_WORDS} words.")
    return lines


def _running_text(documents: Iterable[str]) -> Iterator[str]:
    for line in (line.strip() for document in documents for line in document.splitlines()):
        heading = line.startswith("=") and line.endswith("=")
        if not heading and len(line.split()) >= MIN_WORDS:
            yield line


class MemoryText:
    """Lines of text as inputs of the last block's MLP; edits never change these.

    Every line is run alone, so that its numbers do not depend on the lines before it.
    """

    def __init__(self, lm: LanguageModel, lines: Sequence[str], *, dtype: torch.dtype) -> None:
        self._lm = lm
        self._lines = lines
        self._dtype = dtype
        self._cache = _cache_of(lm.model)

    def __len__(self) -> int:
        return len(self._lines)

    def inputs(self, number: int) -> Tensor:
        """MLP inputs [T, d] of a line, cut to the model's context."""
        line = self._lines[number]
        cached = self._cache.get(line, self._dtype)
        if cached is not None:
            return cached
        ids = prompt_ids(self._lm.tokenizer, line)[: self._lm.model.config.max_position_embeddings]
        inputs = mlp_inputs(self._lm, self._lm.batch_of_pairs([(ids, ())]), dtype=self._dtype)
        self._cache.put(line, inputs)
        return inputs

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


@torch.no_grad()
def mlp_inputs(lm: LanguageModel, row: TokenBatch, *, dtype: torch.dtype) -> Tensor:
    """Inputs [T, d] of the last block's MLP for a batch of one row; no neuron changes them."""
    with captured_input(lm.module(lm.architecture.mlp, lm.n_layers - 1), stop=True) as entering:
        lm.hidden_states(row)
    return entering.value[0].to(dtype)


class _InputCache:
    """MLP inputs by (line, dtype), as long as a model's parameters stay the same."""

    def __init__(self, state: _State) -> None:
        self.state = state
        self._rows: dict[tuple[str, torch.dtype], Tensor] = {}
        self._size = 0

    def get(self, line: str, dtype: torch.dtype) -> Tensor | None:
        return self._rows.get((line, dtype))

    def put(self, line: str, rows: Tensor) -> None:
        if self._size + rows.numel() <= _CACHED:
            self._rows[line, rows.dtype] = rows
            self._size += rows.numel()


# One cache for each model: every editor of it reads the same lines.
_CACHES: WeakKeyDictionary[nn.Module, _InputCache] = WeakKeyDictionary()


def _cache_of(model: nn.Module) -> _InputCache:
    """The cache of a model whose parameters nobody has written to since it was filled."""
    state = tuple((p.data_ptr(), p._version) for p in model.parameters())  # noqa: SLF001 - no other way
    if model not in _CACHES or _CACHES[model].state != state:
        _CACHES[model] = _InputCache(state)
    return _CACHES[model]
