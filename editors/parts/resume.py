"""Forwards that start in the middle of a model, where what lies below does not change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from editors.parts.hooks import captured_input
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch


@torch.no_grad()
def block_input(lm: LanguageModel, batch: TokenBatch, layer: int) -> Tensor:
    """Hidden states [B, T, d] that enter a block; blocks from there on are not run."""
    with captured_input(lm.module(lm.architecture.block, layer), stop=True) as entering:
        lm.hidden_states(batch)
    return entering.value


class _PassedOver(nn.Module):
    """Stands where a block was and does nothing."""

    def forward(self, hidden: Tensor, *_: Any, **__: Any) -> tuple[Tensor]:
        return (hidden,)


@contextmanager
def resumed(lm: LanguageModel, layer: int, hidden: Tensor) -> Iterator[None]:
    """Let forwards start at block `layer` from `hidden`, to the bit what a whole forward gives.

    `hidden` is `block_input` of the very batch that is run inside. The blocks below are out of the
    model for the while, so sub-modules of theirs are to be looked up by path before.
    """
    path, _, name = lm.architecture.block.removesuffix(".{}").rpartition(".")
    parent, blocks = lm.model.get_submodule(path), lm.module(f"{path}.{name}")

    def start(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (hidden, *args[1:])

    upper = [*blocks.children()][layer:]
    handle = upper[0].register_forward_pre_hook(start)
    # As many as before: some models choose a block's mask by its place.
    setattr(parent, name, nn.ModuleList([*(_PassedOver() for _ in range(layer)), *upper]))
    try:
        yield
    finally:
        setattr(parent, name, blocks)
        handle.remove()
