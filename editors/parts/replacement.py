"""Where a retrieved value stands in for a layer's output."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from editors.parts.codebook import Codebook

# At the last prompt token, at all tokens, or at the prompt tokens before the last.
Replacement = Literal["replace_last", "replace_all", "replace_prompt"]


class Retrieved:
    """The decisions of one steering context: taken over a prompt, kept for what follows it."""

    def __init__(self, codebook: Codebook, kind: Replacement, columns: Tensor) -> None:
        self._codebook = codebook
        self._kind = kind
        self._columns = columns  # [B]
        self._index = torch.empty(0)
        self._hit = torch.empty(0)

    def read_prompt(self, inputs: Tensor, output: Tensor) -> Tensor:
        """Look every row up and replace outputs [B, T, d] of the rows that hit."""
        rows = torch.arange(len(inputs), device=inputs.device)
        self._index, self._hit = self._codebook.retrieve(inputs[rows, self._columns])
        where = changed_places(self._kind, self._columns, output[..., 0])
        return self._replaced(output, where)

    def continue_prompt(self, output: Tensor) -> Tensor:
        """Outputs of tokens behind the prompt, which only `replace_all` changes."""
        if self._kind != "replace_all":
            return output
        return self._replaced(output, torch.ones_like(output[..., 0], dtype=torch.bool))

    def _replaced(self, output: Tensor, where: Tensor) -> Tensor:
        values = self._codebook.values[self._index]
        return put(output, values, where & self._hit[:, None])


def changed_places(kind: Replacement, columns: Tensor, like: Tensor) -> Tensor:
    """Mask [B, T], of the shape of `like`, of the positions that `kind` replaces."""
    steps = torch.arange(like.shape[1], device=like.device)
    if kind == "replace_all":
        return torch.ones(like.shape, dtype=torch.bool, device=like.device)
    if kind == "replace_prompt":
        return steps < columns[:, None]
    return steps == columns[:, None]


def put(output: Tensor, values: Tensor, where: Tensor) -> Tensor:
    """Outputs [B, T, d] with each row's value [B, d] at the masked positions [B, T]."""
    return torch.where(where[..., None], values[:, None].to(output.dtype), output)
