"""Which linear maps are edited, the gradient of each in factors, and forwards with shifted weights.

A shift holds one matrix for each of b systems (independent edits of the same model). The rows of a
batch belong to the systems in order, the same number of rows to each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from editors.base import EditRequest
from editors.parts.deltas import WeightDelta
from editors.parts.hooks import OutputFunction, changed_output, hidden_of
from editors.parts.language_model import LanguageModel, block_number
from editors.parts.needs import Shape
from editors.parts.tokens import Pair, TokenBatch, occurrences, prompt_ids, target_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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


def last_blocks(lm: LanguageModel, count: int) -> tuple[int, ...]:
    """Numbers of the last `count` blocks, or of all where the model has fewer."""
    return tuple(range(max(lm.n_layers - count, 0), lm.n_layers))


def projections_of(
    lm: LanguageModel, layers: Sequence[int], *, inputs: bool
) -> tuple[Projection, ...]:
    """The projections of these blocks' MLPs, block by block.

    Args:
        lm: the model.
        layers: block numbers.
        inputs: whether the input projections are meant too, in front of the output projection.

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

    Args:
        shape: of the model.
        layers: block numbers, or how many of the last blocks.
        inputs: as of `projections_of`.
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
    return [(prompt_ids(tokenizer, r.prompt), target_ids(tokenizer, r.target)) for r in requests]


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
    """Factors of each projection, by path, for one loss over a batch.

    Args:
        lm: the model; no parameter of it needs a gradient.
        projections: where to look.
        batch: rows with targets.
        token_weights: [N] weight of each target token's negative log-likelihood in the loss.
        dtype: of the loss and of the factors.
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
