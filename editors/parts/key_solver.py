"""Solving for a weight update that maps new keys to their residuals and spares the old ones.

MEMIT's least squares (section 4.2, equation 14) needs A = (lambda C + K K^T)^-1 K for n new keys
K [m, n] and the second moment C [m, m] of the old ones; the update is then R A^T.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

# `cached` factorises C once per layer and solves an n x n system for each edit, by the Woodbury
# identity; `direct` solves the m x m system each time, as the original. Equal but for rounding.
# `isotropic` is ours, to see what the covariance does: C's mean eigenvalue times the identity in
# its place, so that lambda means what it did and no direction of the keys is spared.
Solver = Literal["cached", "direct", "isotropic"]


class KeySolver:
    """(lambda C + K K^T)^-1 K by layer, in float64; a layer's factor [m, m] stays on its device."""

    def __init__(
        self, covariance: Callable[[int], Tensor], weight: float, solver: Solver = "cached"
    ) -> None:
        """`weight` is lambda: how many old keys C stands for."""
        self._covariance = covariance
        self._weight = weight
        self._solver = solver
        self._factors: dict[int, Tensor] = {}

    def __call__(self, layer: int, keys: Tensor) -> Tensor:
        """Solve for keys [m, n] of a layer; the result is [m, n] in float64.

        Raises:
            ValueError: the system is singular, which means that C saw too little text.
        """
        keys = keys.double()
        return self._direct(layer, keys) if self._solver == "direct" else self._cached(layer, keys)

    def _direct(self, layer: int, keys: Tensor) -> Tensor:
        matrix = self._weight * self._moment(layer, keys) + keys @ keys.T
        solved: Tensor
        solved, failed = torch.linalg.solve_ex(matrix, keys)
        _check(layer, failed)
        return solved

    def _cached(self, layer: int, keys: Tensor) -> Tensor:
        spread = self._inverse_times(layer, keys) / self._weight  # [m, n]
        inner = torch.eye(keys.shape[1], dtype=keys.dtype, device=keys.device) + keys.T @ spread
        solved: Tensor = torch.linalg.solve(inner, spread, left=False)
        return solved

    def _inverse_times(self, layer: int, keys: Tensor) -> Tensor:
        """C^-1 K [m, n]."""
        if self._solver == "isotropic":
            mean = self._covariance(layer).diagonal().mean().to(keys)
            _check(layer, mean <= 0)
            return keys / mean
        if layer not in self._factors:
            factor, failed = torch.linalg.cholesky_ex(self._moment(layer, keys))
            _check(layer, failed)
            self._factors[layer] = factor
        return torch.cholesky_solve(keys, self._factors[layer])

    def _moment(self, layer: int, like: Tensor) -> Tensor:
        return self._covariance(layer).to(like)


def _check(layer: int, failed: Tensor) -> None:
    if failed.any():
        raise ValueError(
            f"The key covariance of layer {layer} is not positive definite; "
            "compute it over more text."
        )
