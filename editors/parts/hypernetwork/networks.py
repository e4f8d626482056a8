"""What MEND and MALMEN edit and by which networks: projections, gradients in factors, shifts.

A shift holds one matrix for each of b systems (independent edits of the same model). The rows of a
batch belong to the systems in order, the same number of rows to each. Both editors use one network
for each shape of weight, shared by the layers of that shape; what a network gives stays in
normalised space, as in both originals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from editors.base import EditRequest, Hparams
from editors.parts.checks import check_above, check_at_least, check_fields
from editors.parts.deltas import WeightDelta
from editors.parts.hooks import OutputFunction, changed_output, hidden_of
from editors.parts.language_model import LanguageModel, block_number
from editors.parts.needs import Shape
from editors.parts.tokens import Pair, TokenBatch, occurrences, prompt_ids, target_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


# ---- Projections, gradients and shifts ---------------------------------------------------------


@dataclass(frozen=True)
class Projection:
    """A linear map y = x W (+ b) inside the feed-forward part of a block."""

    path: str
    d_in: int
    d_out: int
    index: int  # among the edited projections of the same shape, in their order

    @property
    def shape(self) -> str:
        """Name of the shape, which selects the editor network."""
        return f"{self.d_in}x{self.d_out}"

    def delta(self, lm: LanguageModel, matrix: Tensor) -> WeightDelta:
        """The increment of the stored weight for `matrix` [d_in, d_out]."""
        return WeightDelta(f"{self.path}.weight", lm.architecture.as_out_in(matrix.mT))


def projections_of(
    lm: LanguageModel, layers: Sequence[int], *, inputs: bool
) -> tuple[Projection, ...]:
    """The projections of these blocks' MLPs, block by block.

    With `inputs` the input projections too, in front of the output projection.

    Raises:
        ValueError: the model has no such block.
    """
    row = lm.architecture
    templates = (*(row.mlp_in if inputs else ()), row.mlp_out)
    sizes = []
    for layer in layers:
        number = block_number(layer, 0, lm.n_layers)
        for path in (template.format(number) for template in templates):
            d_out, d_in = row.as_out_in(lm.module(path).get_parameter("weight")).shape
            sizes.append((path, d_in, d_out))
    return _numbered(sizes)


def shaped_projections(
    shape: Shape, layers: Sequence[int] | int, *, inputs: bool
) -> tuple[Projection, ...]:
    """As `projections_of`, of a model of which only the sizes are known, without paths.

    `layers` are block numbers, or how many of the last blocks.
    """
    count = min(layers, shape.layers) if isinstance(layers, int) else len(layers)
    block = [("", shape.hidden, shape.inner)] * (shape.inputs if inputs else 0)
    return _numbered([*block, ("", shape.inner, shape.hidden)] * count)


def _numbered(sizes: Sequence[tuple[str, int, int]]) -> tuple[Projection, ...]:
    """Projections of (path, d_in, d_out), counted inside each shape."""
    counts: Counter[tuple[int, int]] = Counter()
    projections = []
    for path, d_in, d_out in sizes:
        projections.append(Projection(path, d_in, d_out, counts[d_in, d_out]))
        counts[d_in, d_out] += 1
    return tuple(projections)


def request_rows(requests: Sequence[EditRequest], tokenizer: PreTrainedTokenizerBase) -> list[Pair]:
    """Rows of the requests alone."""
    return [
        (prompt_ids(tokenizer, r.prompt), target_ids(tokenizer, r.target, r.prompt))
        for r in requests
    ]


@dataclass(frozen=True)
class Factors:
    """The gradient of a projection in factors: dL/dW = sum of the outer products of its rows."""

    inputs: Tensor  # [B, T, d_in]
    gradients: Tensor  # [B, T, d_out], of the loss at the projection's output

    @property
    def matter(self) -> Tensor:
        """[B, T], whether a position counts: neither factor is zero throughout."""
        return (self.inputs != 0).any(-1) & (self.gradients != 0).any(-1)


@torch.enable_grad()
def gradient_factors(
    lm: LanguageModel,
    projections: Sequence[Projection],
    batch: TokenBatch,
    token_weights: Tensor,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Factors]:
    """Factors of each projection, by path, for one loss over a batch with targets.

    `token_weights` [N] are those of the target tokens' negative log-likelihoods in the loss;
    `dtype` is that of the loss and of the factors. No parameter of the model needs a gradient.
    """
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}

    def recorder(path: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            tensor = hidden_of(output)
            if not tensor.requires_grad:  # the lowest projection: gradients go no deeper
                tensor.requires_grad_(True)
            inputs[path], outputs[path] = args[0].detach(), tensor

        return hook

    with ExitStack() as hooks:
        for projection in projections:
            handle = lm.module(projection.path).register_forward_hook(recorder(projection.path))
            hooks.callback(handle.remove)
        losses = functional.cross_entropy(
            lm.target_logits(batch).to(dtype), batch.labels, reduction="none"
        )
    loss = (losses * token_weights).sum()
    paths = [projection.path for projection in projections]
    gradients = torch.autograd.grad(loss, [outputs[path] for path in paths])
    return {
        path: Factors(inputs[path].to(dtype), gradient.to(dtype))
        for path, gradient in zip(paths, gradients, strict=True)
    }


def group_means(batch: TokenBatch, groups: int) -> Tensor:
    """Token weights [N] that make a sum over tokens the sum of the means of equal row groups.

    The rows of a batch belong to `groups` groups of the same number of rows, in order.
    """
    rows, _ = batch.scored_positions
    owner = rows // (len(batch) // groups)
    counts = occurrences(owner, groups)
    return 1 / counts[owner].float()


def deltas_of(
    lm: LanguageModel, projections: Sequence[Projection], matrices: Mapping[str, Tensor]
) -> tuple[WeightDelta, ...]:
    """Increments of the stored weights for matrices [d_in, d_out] by path."""
    return tuple(p.delta(lm, matrices[p.path]) for p in projections if p.path in matrices)


@dataclass(frozen=True)
class DenseShift:
    """Matrices to add to a projection's weight, one a system."""

    values: Tensor  # [b, d_in, d_out]

    def applied(self, inputs: Tensor) -> Tensor:
        """What the shift adds to the output [b, S, d_out] for inputs [b, S, d_in]."""
        return inputs @ self.values

    def __len__(self) -> int:
        """Number b of systems."""
        return len(self.values)


@dataclass(frozen=True)
class LowRankShift:
    """Matrices as sums of outer products, which are never formed while a shift is only applied."""

    left: Tensor  # [b, R, d_in]
    right: Tensor  # [b, R, d_out]

    def applied(self, inputs: Tensor) -> Tensor:
        return (inputs @ self.left.mT) @ self.right

    def matrices(self) -> Tensor:
        """The matrices [b, d_in, d_out]."""
        return self.left.mT @ self.right

    def __len__(self) -> int:
        return len(self.left)


Shift = DenseShift | LowRankShift


@contextmanager
def shifted(lm: LanguageModel, shifts: Mapping[str, Shift]) -> Iterator[None]:
    """Add each shift, by path, to what its projection answers; gradients reach the shifts."""

    def adding(shift: Shift) -> OutputFunction:
        def add(inputs: Tensor, output: Tensor) -> Tensor:
            by_system = inputs.float().reshape(len(shift), -1, inputs.shape[-1])
            return output + shift.applied(by_system).reshape(output.shape).to(output.dtype)

        return add

    with ExitStack() as hooks:
        for path, shift in shifts.items():
            hooks.enter_context(changed_output(lm.module(path), adding(shift)))
        yield


# ---- Hyper-parameters and networks -------------------------------------------------------------


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
        if self.layers is not None and len({*self.layers}) < len(self.layers):
            raise ValueError(f"layers must name each block once, got {self.layers}.")

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
        hparams: HypernetworkHparams,
        modulation: Modulation,
        statistics: RunningStatistics,
    ) -> None:
        super().__init__()
        width = projection.d_in + projection.d_out
        self.widths = (projection.d_in, projection.d_out)
        self.statistics = statistics
        self.blocks = nn.ModuleList(
            Block(width, hparams.rank, n_layers, modulation) for _ in range(hparams.n_blocks)
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
        hparams: HypernetworkHparams,
        *,
        modulation: Modulation,
        eps: float,
        inflated: bool = False,
    ) -> None:
        super().__init__()
        self.projections = tuple(projections)
        self.edit_rates = nn.Parameter(torch.full((len(self.projections),), hparams.edit_rate))
        self._by_shape: dict[str, EditorNetwork] = {}
        for projection in self.projections:
            if projection.index == 0:
                width = projection.d_in + projection.d_out
                self._by_shape[projection.shape] = EditorNetwork(
                    projection,
                    sum(p.shape == projection.shape for p in self.projections),
                    hparams,
                    modulation,
                    RunningStatistics(width, eps=eps, inflated=inflated),
                )
        self.networks = nn.ModuleDict(self._by_shape)

    def network_of(self, projection: Projection) -> EditorNetwork:
        """The editor network of a projection's shape."""
        return self._by_shape[projection.shape]
