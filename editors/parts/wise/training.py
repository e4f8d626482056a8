"""Training a side memory on one edit: its target, and activations that tell it from the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editors.parts.fast_paths import Stopping, enough
from editors.parts.hooks import changed_output
from editors.parts.language_model import LanguageModel
from editors.parts.suffixes import Suffixes
from editors.parts.wise.hparams import WiseHparams
from editors.parts.wise.lesson import Lesson, activations
from editors.parts.wise.side import SideLayer

# The loop ends where two losses in a row were small and equal but for this (EasyEdit).
ENOUGH, SETTLED = 2e-2, 1e-4
WEIGHT_DECAY = 1e-5  # of SGD (EasyEdit)


@dataclass(frozen=True)
class SideTrained:
    """A memory after one more edit."""

    weight: Tensor  # [d_out, d_in]
    activation: float  # mean over the fact's rows, before the last step
    target_losses: tuple[float, ...]  # of every forward
    margin_losses: tuple[float, ...]
    first_gradient: Tensor | None  # masked; None where no step was taken


@torch.enable_grad()
def train_side(
    lm: LanguageModel,
    layer: SideLayer,
    lesson: Lesson,
    side: Tensor,
    mask: Tensor,
    hparams: WiseHparams,
    stopping: Stopping = "by_loss",
) -> SideTrained:
    """Train a copy of `side` [d_out, d_in] where `mask` of its shape allows it; nothing is written.

    Every entry stays within `norm_constraint` of the original.
    """
    forward = _Forward(lm, layer, lesson)
    weight, losses, margins = side.detach().clone(), list[float](), list[float]()
    first, activation = None, 0.0
    for number in range(hparams.n_iter):
        leaf = weight.requires_grad_()
        target, distances = forward(leaf)
        margin = margin_loss(distances, lesson, hparams)
        ended = _settled([a + b for a, b in zip(losses, margins, strict=True)], stopping)
        losses.append(target.item())
        margins.append(margin.item())
        if ended or number == hparams.n_iter - 1:
            activation = activations(distances.detach(), lesson.recorded).mean().item()
        if ended:
            break
        (gradient,) = torch.autograd.grad(target + margin, leaf)
        gradient = gradient * mask
        first = gradient if first is None else first
        decayed = mask if hparams.decay == "masked" else torch.ones_like(mask)
        gradient = gradient + WEIGHT_DECAY * decayed * leaf.detach()
        weight = _stepped(leaf.detach(), gradient, layer.original, hparams)
    return SideTrained(weight.detach(), activation, tuple(losses), tuple(margins), first)


def margin_loss(distances: Tensor, lesson: Lesson, hparams: WiseHparams) -> Tensor:
    """What activations lack of the margins alpha, beta and gamma; distances are [R + 1, T]."""
    inside = activations(distances, lesson.inside)
    outside = activations(distances, lesson.outside)
    return (
        _mean_above_zero(outside[:, None] - inside + hparams.gamma)  # every pair
        + _mean_above_zero(outside - hparams.alpha)
        + _mean_above_zero(hparams.beta - inside)
    )


def _mean_above_zero(values: Tensor) -> Tensor:
    above = values[values > 0]
    return above.mean() if len(above) else values.sum() * 0


def _settled(losses: Sequence[float], stopping: Stopping) -> bool:
    if len(losses) < 2:
        return False
    difference = abs(losses[-1] - losses[-2])
    return difference <= enough(SETTLED, stopping) and losses[-1] <= enough(ENOUGH, stopping)


@torch.no_grad()
def _stepped(weight: Tensor, gradient: Tensor, original: Tensor, hparams: WiseHparams) -> Tensor:
    weight = weight - hparams.edit_lr * gradient
    radius = hparams.norm_constraint
    if radius is None:
        return weight
    return weight.clamp(original - radius, original + radius)


class _Forward:
    """Target loss and distances [R + 1, T] of a lesson by the memory; blocks below run once."""

    def __init__(self, lm: LanguageModel, layer: SideLayer, lesson: Lesson) -> None:
        self._lm, self._layer, self._lesson = lm, layer, lesson
        batch = lesson.batch
        self._whole = Suffixes(lm, batch, [0] * len(batch), [layer.block])

    def __call__(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        seen: list[Tensor] = []

        def answer(inputs: Tensor, output: Tensor) -> Tensor:
            other = self._layer.answer(inputs, weight)
            seen[:] = [self._layer.distances(output, other)]
            return other

        block = self._layer.block
        with changed_output(self._layer.module, answer):
            states = self._whole.final(self._whole.entering[block], block)
        return self._lesson.loss(self._lm, states), seen[0]
