"""Where a value stands in for a layer's output, and fast forwards while it is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from editors.parts.deltas import HALF
from editors.parts.hooks import captured_output, changed_output
from editors.parts.language_model import LanguageModel
from editors.parts.suffixes import Suffixes
from editors.parts.tokens import TokenBatch

# At the last prompt token, at all tokens, or at the prompt tokens before the last.
Replacement = Literal["replace_last", "replace_all", "replace_prompt"]


def replaced_positions(kind: Replacement, columns: Tensor, like: Tensor) -> Tensor:
    """Mask [B, T], of the shape of `like`, of the positions that `kind` replaces.

    `columns` [B] are those of the last prompt tokens.
    """
    steps = torch.arange(like.shape[1], device=like.device)
    if kind == "replace_all":
        return torch.ones(like.shape, dtype=torch.bool, device=like.device)
    if kind == "replace_prompt":
        return steps < columns[:, None]
    return steps == columns[:, None]


def put(output: Tensor, values: Tensor, where: Tensor) -> Tensor:
    """Outputs [B, T, d] with each row's value [B, d] at the masked positions [B, T]."""
    return torch.where(where[..., None], values[:, None].to(output.dtype), output)


def final_states(
    lm: LanguageModel,
    module: nn.Module,
    layer: int,
    batch: TokenBatch,
    starts: Tensor,
    where: Callable[[Tensor], Tensor],
) -> Callable[[Tensor], Tensor]:
    """How final states [K, S, d], from the columns `starts` on, follow from values [K, d].

    The output of a block's MLP goes into the sum that leaves the block, so that forwards begin
    after the block; other projections are replaced inside it, and so is an output of half
    precision, which cannot be separated from a rounded sum.

    The output of `module`, in block number `layer`, is replaced; `where` gives the mask [K, S] of
    the replaced positions for a tensor of that shape.
    """
    if module is lm.module(lm.architecture.mlp_out, layer) and lm.dtype not in HALF:
        with captured_output(module) as taken:
            suffixes = Suffixes(lm, batch, starts.tolist(), [layer + 1])
        output = suffixes.of(taken.value)  # [K, S, d]
        others = suffixes.entering[layer + 1] - output  # the other summands of the block
        mask = where(output[..., 0])
        return lambda values: suffixes.final(others + put(output, values, mask), layer + 1)
    suffixes = Suffixes(lm, batch, starts.tolist(), [layer])
    entering = suffixes.entering[layer]
    mask = where(entering[..., 0])

    def inside(values: Tensor) -> Tensor:
        with changed_output(module, lambda _, output: put(output, values, mask)):
            return suffixes.final(entering, layer)

    return inside
