"""One neuron for each wrong token of an edit: T-Patcher as published.

Written after the public implementation ZeroYuHuang/Transformer-Patcher (Huang et al.,
"Transformer-Patcher: One Mistake Worth One Neuron"). Its driver is for BART and BERT; what it adds
to the training of a single example there (label smoothing, the example repeated in a batch, a
plateau schedule of the rate) is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from editors.parts.fast_paths import Stopping
from editors.parts.t_patcher.neurons import LastBlock, Neurons

# Constants of the original's launch scripts.
MAX_ERRORS = 5  # neurons of one edit
AMPLIFY = 10.0  # initial factor of every value entry
CLIP_NORM = 5.0
ACTIVATION_SHAPE, ACTIVATION_MARGIN = "top5_exp", 0.0
MEMORY_SHAPES = ("top1000_exp", "top1000_exp")
MEMORY_MARGINS = (3.0, -3.0)  # as for FEVER; the shipped zsRE launcher forgets to pass them on
# The shape of a penalty, see `shaped`.
_SHAPE = re.compile(r"(?:top(?P<count>\d+)_)?(?P<kind>exp|margin|expmargin)")
FIRST_CHECK, CHECK_EVERY, ENOUGH_GAIN = 100, 25, 1e-3  # of the stopping rule, in steps


@dataclass(frozen=True)
class OriginalPatch:
    """n neurons in training: the value of neuron j is `values[j] * amplify[j]`."""

    keys: Tensor  # [n, d]
    biases: Tensor  # [n]
    values: Tensor  # [n, d]
    amplify: Tensor  # [n, d]

    @property
    def neurons(self) -> Neurons:
        """The neurons as an MLP with one input projection takes them."""
        return Neurons(self.keys[:, None], self.biases[:, None], self.values * self.amplify)


@dataclass(frozen=True)
class OriginalTerms:
    """Loss terms of one step, unweighted."""

    edit: Tensor
    activation: Tensor
    memory: Tensor

    def total(self, *, activation: float, memory: float) -> Tensor:
        """Weighted sum."""
        return self.edit + activation * self.activation + memory * self.memory


@dataclass(frozen=True)
class OriginalTraining:
    """The trained patch; for each step edit, activation and memory loss, total, gradient norm."""

    patch: OriginalPatch
    steps: tuple[tuple[float, ...], ...]


@torch.no_grad()
def error_columns(block: LastBlock) -> Tensor:
    """The first positions whose most likely token is not the target's; at most `MAX_ERRORS`."""
    nothing = Neurons.zeros(0, 1, block.inputs.shape[1], block.inputs)
    wrong = block.target_logits(nothing).argmax(-1) != block.labels
    return block.columns[wrong][:MAX_ERRORS]


def initial_patch(block: LastBlock, columns: Tensor, draw: Tensor) -> OriginalPatch:
    """Keys that answer 1 at their own positions [n], with standard normal values `draw` [n, d]."""
    queries = block.inputs[columns]
    return OriginalPatch(
        keys=queries / queries.square().sum(-1, keepdim=True),
        biases=queries.new_zeros(len(queries)),
        values=draw.to(queries),
        amplify=torch.full_like(queries, AMPLIFY),
    )


def original_terms(
    block: LastBlock, patch: OriginalPatch, columns: Tensor, memory: Tensor
) -> OriginalTerms:
    """Loss terms; neuron j belongs to `columns[j]`, `memory` [M, d] holds MLP inputs."""
    neurons = patch.neurons
    own = neurons.responses(block.inputs[columns])[..., 0].diagonal()[None]  # [1, n]
    return OriginalTerms(
        edit=block.target_loss(neurons),
        activation=activation_loss(own, shape=ACTIVATION_SHAPE, margin=ACTIVATION_MARGIN),
        memory=_memory(neurons, own, memory),
    )


@torch.enable_grad()
def train_original(
    block: LastBlock,
    patch: OriginalPatch,
    columns: Tensor,
    memory: Tensor,
    validation: Tensor,
    *,
    num_steps: int,
    lr: float,
    weight_decay: float,
    activation: float,
    silence: float,
    stopping: Stopping = "by_loss",
) -> OriginalTraining:
    """Adam with L2 and clipped gradients until the stopping rule is met, or `num_steps`.

    From step 100 on, every 25 steps: once the target is answered right, training ends at the first
    check at which the loss on the `validation` rows [M', d] has not fallen by 0.001.
    """
    parts = [part.clone().requires_grad_() for part in vars(patch).values()]
    trained = OriginalPatch(*parts)
    optimizer = torch.optim.Adam(parts, lr=lr, weight_decay=weight_decay)
    steps, rule = [], _StoppingRule(block, columns, validation, stopping)
    for number in range(num_steps):
        if rule.met(number, trained):
            break
        terms = original_terms(block, trained, columns, memory)
        total = terms.total(activation=activation, memory=silence)
        optimizer.zero_grad()
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(parts, CLIP_NORM)
        steps.append(tuple(torch.stack([*vars(terms).values(), total, norm]).tolist()))
        optimizer.step()
    return OriginalTraining(OriginalPatch(*(part.detach() for part in parts)), tuple(steps))


class _StoppingRule:
    """Remembers the validation loss of the last check at which the answer was right."""

    def __init__(
        self, block: LastBlock, columns: Tensor, validation: Tensor, stopping: Stopping
    ) -> None:
        self._block, self._columns, self._validation = block, columns, validation
        self._stopping = stopping
        self._last = float("inf")

    @torch.no_grad()
    def met(self, step: int, patch: OriginalPatch) -> bool:
        if step < FIRST_CHECK or step % CHECK_EVERY:
            return False
        neurons = patch.neurons
        right = torch.equal(self._block.target_logits(neurons).argmax(-1), self._block.labels)
        if not right and self._stopping == "by_loss":
            return False
        own = neurons.responses(self._block.inputs[self._columns])[..., 0].diagonal()[None]
        loss = float(_memory(neurons, own, self._validation))
        first, stop = self._last == float("inf"), loss > self._last - ENOUGH_GAIN
        self._last = loss
        return stop if self._stopping == "by_loss" else self._stopping == "at_once" and not first


def _memory(neurons: Neurons, own: Tensor, rows: Tensor) -> Tensor:
    responses = neurons.responses(rows)[..., 0]  # [M, n]
    return memory_loss(responses, own, shapes=MEMORY_SHAPES, margins=MEMORY_MARGINS)


# ---- Penalties (L_a and L_m of the paper) ------------------------------------------------------


def shaped(excess: Tensor, shape: str) -> Tensor:
    """Scalar penalty of how far values of any shape are on the wrong side; 0 for none.

    Shapes are named as in the original: `exp` is the mean of exp(x), `margin` that of the positive
    x, `expmargin` that of exp(x) over the positive x; `top5_exp` takes the five largest alone.

    Raises:
        ValueError: no such shape.
    """
    match = _SHAPE.fullmatch(shape)
    if match is None:
        raise ValueError(
            f"Unknown loss shape {shape!r}. Available: exp, margin, expmargin, each with topN_."
        )
    terms = excess.flatten()
    if match["kind"] != "exp":
        terms = terms[terms > 0]
    if match["kind"] != "margin":
        terms = terms.exp()
    if match["count"] is not None:
        terms = terms.topk(min(int(match["count"]), len(terms))).values
    return terms.mean() if len(terms) else excess.sum() * 0


def activation_loss(own: Tensor, *, shape: str, margin: float = 0.0) -> Tensor:
    """Penalty of neurons whose pre-activations `own` [E, N] stay below `margin`."""
    return shaped(margin - own, shape)


def memory_loss(
    memory: Tensor, own: Tensor, *, shapes: tuple[str, str], margins: tuple[float, float]
) -> Tensor:
    """Penalty of neurons that answer to memory rows, relative to their own positions and at all.

    Of pre-activations `memory` [M, N] and `own` [E, N]: memory - own + m1, and memory - m2.
    """
    stacked = memory[:, None].expand(-1, len(own), -1)  # [M, E, N]
    relative, absolute = stacked - own + margins[0], stacked - margins[1]
    return shaped(relative, shapes[0]) + shaped(absolute, shapes[1])
