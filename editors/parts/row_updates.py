"""Rank-one updates of a linear module, another one for each row of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from editors.parts.hooks import changed_output


@contextmanager
def updated_rows(module: nn.Module, left: Tensor, right: Tensor, hits: Tensor) -> Iterator[None]:
    """Let each row that hits be answered by W + left right^T, at all of its positions.

    The weights stay as they are, and rows without a hit are answered to the bit as without this.

    Args:
        module: a linear one, from inputs [B, T, m] to outputs [B, T, d].
        left: [B, d]; the values in rows without a hit do not matter.
        right: [B, m].
        hits: bool [B].
    """

    def updated(inputs: Tensor, output: Tensor) -> Tensor:
        amounts = torch.einsum("btm,bm->bt", inputs.to(right), right)
        added = output + (amounts[..., None] * left[:, None]).to(output)
        return torch.where(hits[:, None, None], added, output)

    with changed_output(module, updated):
        yield
