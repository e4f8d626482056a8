"""An absolute threshold of retrieval, from the scores of questions whose answers are known."""

from __future__ import annotations

import torch
from torch import Tensor


def best_threshold(scores: Tensor, weights: Tensor) -> float:
    """The threshold of the largest sum of weights [N] whose scores [N] lie above it.

    Candidates lie in the middle between neighbouring scores, and just below and above all; of
    equals the lowest is taken.
    """
    levels, where = scores.double().unique(return_inverse=True)  # ascending
    gains = torch.zeros(len(levels)).double().index_add(0, where, weights.double())
    above = torch.cat([gains.flip(0).cumsum(0).flip(0), torch.zeros(1).double()])
    edges = torch.cat([levels[:1] - 1e-3, (levels[1:] + levels[:-1]) / 2, levels[-1:] + 1e-3])
    return float(edges[int(above.argmax())])


def hit_weights(right: Tensor, unrelated: int) -> Tensor:
    """What each score above the threshold adds to hit rate - false-hit rate [R + U].

    Args:
        right: bool [R], whether the nearest edit to a question about an edit is that edit.
        unrelated: U, number of other questions.
    """
    false = torch.full((unrelated,), -1 / max(unrelated, 1)).double()
    return torch.cat([right.double() / len(right), false])
