"""The regularised least-squares problem behind MALMEN's weight shift, and its gradients.

For keys K [n, d_in] and wanted changes D [n, d_out] of the values at them, the shift is
S = (K'K + lambda I)^-1 K'D = K'(KK' + lambda I)^-1 D (MALMEN, section 4.2). The second, dual form
is solved where there are fewer keys than input dimensions: the same value from an n x n system.
Everything is batched over b systems; rows of zeros in K and D change nothing. Systems are solved
in float64: in float32 the primal form loses three digits at the condition numbers met here.
"""

from __future__ import annotations

import torch
from torch import Tensor


def shift_of(keys: Tensor, differences: Tensor, regulariser: Tensor) -> Tensor:
    """Shift S [b, d_in, d_out] for keys [b, n, d_in] and value differences [b, n, d_out]."""
    k, d = keys.double(), differences.double()
    if _dual(keys):
        return (k.mT @ _solve(k @ k.mT, regulariser, d)).to(keys.dtype)
    return _solve(k.mT @ k, regulariser, k.mT @ d).to(keys.dtype)


def shift_gradients(
    keys: Tensor, differences: Tensor, regulariser: Tensor, upstream: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of a loss with respect to the differences and to log lambda.

    Args:
        keys: [b, n, d_in].
        differences: [b, n, d_out].
        regulariser: lambda, a scalar.
        upstream: gradient of the loss with respect to the shift [b, d_in, d_out].

    Returns:
        ([b, n, d_out], scalar). With M = (K'K + lambda I)^-1 G they are K M and -lambda <M, S>.
    """
    k, d, g = keys.double(), differences.double(), upstream.double()
    if _dual(keys):
        solved = _solve(k @ k.mT, regulariser, torch.cat([k @ g, d], dim=-1))
        by_difference, weights = solved.tensor_split([g.shape[-1]], dim=-1)
        product = (by_difference * weights).sum()
    else:
        m = _solve(k.mT @ k, regulariser, g)
        by_difference = k @ m
        product = (m * _solve(k.mT @ k, regulariser, k.mT @ d)).sum()
    by_log = -regulariser.double() * product
    return by_difference.to(keys.dtype), by_log.to(keys.dtype)


def _dual(keys: Tensor) -> bool:
    return keys.shape[-2] < keys.shape[-1]


def _solve(gram: Tensor, regulariser: Tensor, right: Tensor) -> Tensor:
    """(gram + lambda I)^-1 right."""
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    solved: Tensor = torch.linalg.solve(gram + regulariser.double() * identity, right)
    return solved
