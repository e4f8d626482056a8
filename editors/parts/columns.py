"""Tokens of each row, picked by their columns."""

from __future__ import annotations

from torch import Tensor


def at_columns(states: Tensor, columns: Tensor) -> Tensor:
    """What states [B, ..., T, d] hold at the columns [B, S] of each row, [B, ..., S, d]."""
    index = columns.to(states.device)
    while index.dim() < states.dim() - 1:
        index = index[:, None]
    return states.gather(-2, index[..., None].expand(*states.shape[:-2], -1, states.shape[-1]))
