"""TIES merging of weights that started from the same one (Yadav et al., NeurIPS 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def merged(
    original: Tensor, weights: Sequence[Tensor], shares: Sequence[float], density: float
) -> Tensor:
    """One weight from several of the shape of `original`.

    Of each change the largest entries are kept; each entry takes the sign of the weighted sum of
    the kept ones, and the weighted mean of those that agree with it.
    """
    changes = [_largest(weight - original, density) for weight in weights]
    total = sum((s * c for s, c in zip(shares, changes, strict=True)), torch.zeros_like(original))
    sign = torch.where(total >= 0, 1.0, -1.0).to(original)
    above, below = torch.zeros_like(original), torch.zeros_like(original)
    for share, change in zip(shares, changes, strict=True):
        agrees = change.sign() == sign
        above += share * change * agrees
        below += share * agrees
    return original + above / torch.where(below == 0, 1.0, below)


def _largest(change: Tensor, density: float) -> Tensor:
    """The change with all but its `density` largest entries at zero."""
    flat = change.flatten()
    kept = flat.abs().topk(int(density * len(flat))).indices
    return torch.zeros_like(flat).index_copy(0, kept, flat[kept]).view_as(change)
