"""Keys and values of tokens in front, which rows are run behind without adding to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from editors.parts.columns import at_columns


class _FrozenLayer(DynamicLayer):
    """Keys and values that new ones stand behind for one forward, without being kept."""

    def __init__(self, keys: Tensor | None, values: Tensor | None, length: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys, self.values, self._length = keys, values, length

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        if self.keys is None or self.values is None:
            raise RuntimeError("A block below the first that is run has no keys and values.")
        keys = torch.cat([self.keys, key_states], dim=-2)
        return keys, torch.cat([self.values, value_states], dim=-2)

    def get_seq_length(self) -> int:
        return self._length


def frozen(cache: Cache, columns: Tensor, first: int, count: int) -> Cache:
    """A cache of `count` blocks with what `cache` has at the columns [B, P] of each row.

    Blocks below `first` hold nothing and cannot be run.
    """
    return Cache(layers=[*_layers(cache, columns, first, count)])


def _layers(cache: Cache, columns: Tensor, first: int, count: int) -> Iterator[_FrozenLayer]:
    length = columns.shape[1]
    for number in range(count):
        if number < first:
            yield _FrozenLayer(None, None, length)
            continue
        kept: Any = cache.layers[number]
        yield _FrozenLayer(
            at_columns(kept.keys, columns), at_columns(kept.values, columns), length
        )  # [B, H, P, h]
