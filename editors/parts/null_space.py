"""Keys without the directions that old keys take: ridge regression in a null space (AlphaEdit).

With P the projection onto the directions in which the old keys' second moment C is small, AlphaEdit
solves (P (K K^T + M) + lambda I) X = P K R^T for new keys K and the sum M of earlier ones. X lies
in the range of P, so that it is the ridge regression on projected keys K' = P K alone, earlier ones
A' beside them: X = (lambda I + A' A'^T + K' K'^T)^-1 K' R^T.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class NullSpace:
    """Directions [m] in which old keys have little energy, by the thinner one of two bases."""

    basis: Tensor  # [m, r] of these directions, or [m, m - r] of all others
    complement: bool  # whether it is that of the others
    rank: int  # r

    @classmethod
    def of(cls, moment: Tensor, threshold: float) -> NullSpace:
        """Eigenvectors of C [m, m] with an eigenvalue below `threshold`."""
        values, vectors = torch.linalg.eigh(moment.double())  # ascending
        rank = int((values < threshold).sum())
        complement = 2 * rank > len(values)
        basis = vectors[:, rank:] if complement else vectors[:, :rank]
        return cls(basis.contiguous(), complement, rank)

    def project(self, keys: Tensor) -> Tensor:
        """P K [m, n] in float64."""
        keys = keys.double()
        part = self.basis @ (self.basis.T @ keys)
        return keys - part if self.complement else part


def ridge(past: Tensor, keys: Tensor, weight: float) -> Tensor:
    """(lambda I + A A^T)^-1 K [m, n], where A [m, N] are past keys [m, N - n] and K [m, n].

    Solved over keys or over dimensions, whichever are fewer.
    """
    every = torch.cat([past, keys], dim=1)
    size, count = every.shape
    if count < size:
        solved = _solve(every.T @ every, weight, every.T @ keys)
        return (keys - every @ solved) / weight
    return _solve(every @ every.T, weight, keys)


def _solve(gram: Tensor, weight: float, right: Tensor) -> Tensor:
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return torch.cholesky_solve(right, torch.linalg.cholesky(gram + weight * identity))
