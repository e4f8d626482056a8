"""ROME's rank-one write: from requests to updates of one MLP output projection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from editors.base import EditRequest
from editors.parts.deltas import WeightDelta
from editors.parts.language_model import LanguageModel
from editors.parts.value_optimisation import (
    ValuePass,
    ValueProblem,
    ValueSettings,
    ValueSolution,
    optimise_values,
    value_pass,
    value_problem,
)

# Which key stands where (kmeng01/rome, and EasyEdit's R-ROME after "Rebuilding ROME", 2403.07175):
# `original`: the direction from the mean key over contexts, the divisor from the bare prompt's key;
# `rebuilt_prefix`: the mean key in both places; `rebuilt_prompt`: the bare prompt's key in both.
RankOneForm = Literal["original", "rebuilt_prefix", "rebuilt_prompt"]


@dataclass(frozen=True)
class RankOneUpdate:
    """Delta W = left right^T of one layer's MLP output projection, as (out, in)."""

    layer: int
    left: Tensor  # [d]
    right: Tensor  # [m], of unit length
    keys: Tensor  # [R, m], of the subject's last token under each template, the bare one first
    solution: ValueSolution

    def delta(self, lm: LanguageModel) -> WeightDelta:
        """The increment in the layout that the model stores."""
        name = f"{lm.architecture.mlp_out.format(self.layer)}.weight"
        return WeightDelta(name, lm.architecture.as_out_in(torch.outer(self.left, self.right)))


def rank_one_updates(
    lm: LanguageModel,
    requests: Sequence[EditRequest],
    templates: Sequence[str],
    *,
    layer: int,
    settings: ValueSettings,
    form: RankOneForm = "original",
    inverse_covariance: Tensor | None = None,
) -> list[RankOneUpdate]:
    """The updates that make the model as it is now answer each request; nothing is written.

    Args:
        templates: context templates, the bare `"{}"` first.
        inverse_covariance: C^-1 [m, m]; without it the direction is the key itself.
    """
    problem = value_problem(lm, requests, templates)
    return rank_one_solutions(
        lm,
        problem,
        value_pass(lm, problem, [layer]),
        layer=layer,
        settings=settings,
        form=form,
        inverse_covariance=inverse_covariance,
    )


def rank_one_solutions(
    lm: LanguageModel,
    problem: ValueProblem,
    seen: ValuePass,
    *,
    layer: int,
    settings: ValueSettings,
    form: RankOneForm = "original",
    inverse_covariance: Tensor | None = None,
) -> list[RankOneUpdate]:
    """The updates at one layer of a pass that may serve several.

    Keys do not depend on what is optimised above them nor, in a causal model, on the target behind
    them, so they are read from the same pass.
    """
    solutions = optimise_values(lm, problem, settings, layer=layer, seen=seen)
    return [
        _update(layer, solution, keys[:-1].to(solution.delta), form, inverse_covariance)
        for solution, keys in zip(solutions, seen.keys[layer], strict=True)
    ]


def _update(
    layer: int,
    solution: ValueSolution,
    keys: Tensor,  # [R, m]
    form: RankOneForm,
    inverse_covariance: Tensor | None,
) -> RankOneUpdate:
    bare, mean = keys[0], keys.mean(dim=0)
    direction = bare if form == "rebuilt_prompt" else mean
    if inverse_covariance is not None:
        direction = inverse_covariance.to(direction) @ direction
    right = direction / direction.norm()
    divided = mean if form == "rebuilt_prefix" else bare
    change = solution.delta
    if form == "rebuilt_prefix":
        change = solution.outputs[0] + solution.delta - solution.outputs.mean(dim=0)
    return RankOneUpdate(layer, change / (divided @ right), right, keys, solution)
