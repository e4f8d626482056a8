"""Forwards in which projections answer with shifted weights; the weights themselves stay.

A shift holds one matrix for each of b systems (independent edits of the same model). The rows of a
batch belong to the systems in order, the same number of rows to each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from editors.parts.hooks import OutputFunction, changed_output
from editors.parts.language_model import LanguageModel


class Shift(Protocol):
    """Matrices to add to a projection's weight, one a system."""

    def applied(self, inputs: Tensor) -> Tensor:
        """What the shift adds to the output [b, S, d_out] for inputs [b, S, d_in]."""

    def matrices(self) -> Tensor:
        """The matrices [b, d_in, d_out]."""

    @property
    def systems(self) -> int:
        """Number b of systems."""


@dataclass(frozen=True)
class DenseShift:
    """Matrices as they are."""

    values: Tensor  # [b, d_in, d_out]

    def applied(self, inputs: Tensor) -> Tensor:
        return inputs @ self.values

    def matrices(self) -> Tensor:
        return self.values

    @property
    def systems(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class LowRankShift:
    """Matrices as sums of outer products, which are never formed while a shift is only applied."""

    left: Tensor  # [b, R, d_in]
    right: Tensor  # [b, R, d_out]

    def applied(self, inputs: Tensor) -> Tensor:
        return (inputs @ self.left.mT) @ self.right

    def matrices(self) -> Tensor:
        return self.left.mT @ self.right

    @property
    def systems(self) -> int:
        return len(self.left)


@contextmanager
def shifted(lm: LanguageModel, shifts: Mapping[str, Shift]) -> Iterator[None]:
    """Add each shift, by path, to what its projection answers; gradients reach the shifts."""

    def adding(shift: Shift) -> OutputFunction:
        def add(inputs: Tensor, output: Tensor) -> Tensor:
            by_system = inputs.float().reshape(shift.systems, -1, inputs.shape[-1])
            return output + shift.applied(by_system).reshape(output.shape).to(output.dtype)

        return add

    with ExitStack() as hooks:
        for path, shift in shifts.items():
            hooks.enter_context(changed_output(lm.module(path), adding(shift)))
        yield
