"""Hyper-parameters and networks of MEND and MALMEN: maps of normalised gradient factors.

Both editors use one network for each shape of weight, shared by the layers of that shape; what a
network gives stays in normalised space, as in both originals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from editors.base import Hparams
from editors.parts.checks import check_above, check_at_least, check_fields
from editors.parts.hypernetwork.projections import Projection

Number = TypeVar("Number", float, Tensor)


@dataclass(frozen=True, kw_only=True)
class HypernetworkHparams(Hparams):
    """Counts of iterations are optimiser steps."""

    layers: tuple[int, ...] | None  # whose MLPs are edited; None: the last ones
    edit_rate: float  # initial value of the learned rates
    learning_rate: float  # of Adam
    weight_edit: float
    weight_locality: float
    max_grad_norm: float
    batch_size: int  # systems (independent edits, or groups of edits) in an optimiser step
    micro_batch: int  # edits in one forward
    iterations: int
    checkpoint_interval: int
    patience: int | None  # iterations without a better checkpoint before training ends
    rank: int = 1920  # of the editor networks' linear maps; at most their width
    n_blocks: int = 2
    held_out: int = 200  # training samples a data set that select the checkpoint

    def __post_init__(self) -> None:
        check_fields(self, HypernetworkHparams)
        for name in ("learning_rate", "max_grad_norm"):
            check_above(name, vars(self)[name], 0)
        for name in ("weight_edit", "weight_locality"):
            check_at_least(name, vars(self)[name], 0)
        if self.patience is not None:
            check_at_least("patience", self.patience, 1)
        if self.layers is not None and not self.layers:
            raise ValueError("layers must name at least one block, or be None; got an empty list.")

    def total(self, edit: Number, locality: Number) -> Number:
        """The training loss of its two terms."""
        return self.weight_edit * edit + self.weight_locality * locality


# Where the scale and shift of a layer act: on what enters the clamp (MEND), or on what leaves it
# (MALMEN).
Modulation = Literal["before_clamp", "after_clamp"]


class RunningStatistics(nn.Module):
    """Mean and standard deviation of each coordinate over all rows seen so far.

    `inflated` is a defect of MALMEN's original, there for parity: the spread of b new rows counts
    as that of b + 1, and a single row makes it undefined for ever.
    """

    mean: Tensor
    squares: Tensor
    count: Tensor

    def __init__(self, width: int, *, eps: float, inflated: bool = False) -> None:
        super().__init__()
        self.eps = eps
        self.inflated = inflated
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("squares", torch.zeros(width))  # summed squared deviations
        self.register_buffer("count", torch.zeros(1))

    @torch.no_grad()
    def update(self, rows: Tensor) -> None:
        """Add rows [N, width], all at once; the order of rows does not matter."""
        if not len(rows):
            return
        difference = rows.mean(0) - self.mean
        total = self.count + len(rows)
        self.mean.add_(difference * len(rows) / total)
        self.squares.add_(self._spread(rows) + difference.square() * self.count * len(rows) / total)
        self.count.copy_(total)

    @torch.no_grad()
    def standardise(self) -> None:
        """Count as having seen two rows, of mean 0 and deviation 1: rows pass as they are."""
        self.mean.zero_()
        self.count.fill_(2)
        self.squares.fill_(1)

    def _spread(self, rows: Tensor) -> Tensor:
        if self.inflated:
            return len(rows) * rows.var(0, correction=1) if len(rows) > 1 else rows[0] * torch.nan
        return (rows - rows.mean(0)).square().sum(0)

    @property
    def deviation(self) -> Tensor:
        """Standard deviation [width], with Bessel's correction."""
        return (self.squares / (self.count - 1 + self.eps)).sqrt()

    def forward(self, rows: Tensor) -> Tensor:
        """Normalised rows [N, width]."""
        return (rows - self.mean) / (self.deviation + self.eps)


class Block(nn.Module):
    """z + a low-rank map of z through a clamp, with a scale and a shift of each layer's own.

    Initially the identity. The clamp, unlike a ReLU, passes gradients at exactly 0, where the zero
    `up` starts it.
    """

    def __init__(self, width: int, rank: int, n_layers: int, modulation: Modulation) -> None:
        super().__init__()
        self.modulation = modulation
        self.down = nn.Parameter(torch.randn(width, min(rank, width)))
        self.up = nn.Parameter(torch.zeros(min(rank, width), width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.scale = nn.Parameter(torch.ones(n_layers, width))
        self.shift = nn.Parameter(torch.zeros(n_layers, width))

    def forward(self, z: Tensor, layer: int) -> Tensor:
        """[N, width] of [N, width]; `layer` counts inside the shape."""
        a = z @ self.down @ self.up + self.bias
        scale, shift = self.scale[layer], self.shift[layer]
        if self.modulation == "before_clamp":
            return z + (a * scale + shift).clamp(min=0)
        return z + scale * a.clamp(min=0) + shift


class EditorNetwork(nn.Module):
    """Factors of one shape to pseudo-factors."""

    def __init__(
        self,
        projection: Projection,
        n_layers: int,
        *,
        rank: int,
        n_blocks: int,
        modulation: Modulation,
        statistics: RunningStatistics,
    ) -> None:
        super().__init__()
        width = projection.d_in + projection.d_out
        self.widths = (projection.d_in, projection.d_out)
        self.statistics = statistics
        self.blocks = nn.ModuleList(
            Block(width, rank, n_layers, modulation) for _ in range(n_blocks)
        )

    def observe(self, inputs: Tensor, gradients: Tensor) -> None:
        """Add rows [N, d_in] and [N, d_out] to the running statistics."""
        self.statistics.update(torch.cat([inputs, gradients], dim=-1))

    def forward(self, inputs: Tensor, gradients: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Pseudo-inputs [N, d_in] and pseudo-gradients [N, d_out]."""
        z = self.statistics(torch.cat([inputs, gradients], dim=-1))
        for block in self.blocks:
            z = block(z, layer)
        pseudo_inputs, pseudo_gradients = z.split(self.widths, dim=-1)
        return pseudo_inputs, pseudo_gradients


class Hypernetwork(nn.Module):
    """One editor network a shape, and one learned edit rate a projection."""

    def __init__(
        self,
        projections: Sequence[Projection],
        *,
        rank: int,
        n_blocks: int,
        edit_rate: float,
        modulation: Modulation,
        eps: float,
        inflated: bool = False,
    ) -> None:
        super().__init__()
        self.projections = tuple(projections)
        self.edit_rates = nn.Parameter(torch.full((len(self.projections),), edit_rate))
        self._by_shape: dict[str, EditorNetwork] = {}
        for projection in self.projections:
            if projection.index == 0:
                width = projection.d_in + projection.d_out
                self._by_shape[projection.shape] = EditorNetwork(
                    projection,
                    sum(p.shape == projection.shape for p in self.projections),
                    rank=rank,
                    n_blocks=n_blocks,
                    modulation=modulation,
                    statistics=RunningStatistics(width, eps=eps, inflated=inflated),
                )
        self.networks = nn.ModuleDict(self._by_shape)

    def network_of(self, projection: Projection) -> EditorNetwork:
        """The editor network of a projection's shape."""
        return self._by_shape[projection.shape]
