"""Spreading facts over several MLPs: the part that MEMIT and its projected variant share.

Written after "Mass-Editing Memory in a Transformer" (Meng et al., 2023) and the public
implementation kmeng01/memit. Editors differ in how they solve for a layer's update.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from editors.base import EditRequest, Resources
from editors.parts.deltas import WeightDelta, WeightEditor, tried_out
from editors.parts.hooks import captured_input, captured_output
from editors.parts.language_model import LanguageModel, block_number
from editors.parts.value_optimisation import (
    ValueHparams,
    ValueProblem,
    ValueSolution,
    optimise_values,
    requests_together,
    value_pass,
    value_problem,
)

# Relative depths of the first and last edited block where none are named: EasyEdit's 4 to 8 of
# LLaMA-2-7B's 32.
DEPTHS = (4 / 32, 8 / 32)


@dataclass(frozen=True, kw_only=True)
class SpreadHparams(ValueHparams):
    """Defaults are those of EasyEdit's MEMIT for LLaMA-2-7B."""

    layers: tuple[int, ...] | None  # ascending; None: at relative depths of 4/32 to 8/32
    v_num_grad_steps: int = 25
    v_weight_decay: float = 1e-3
    context_lengths: tuple[int, ...] = (10,) * 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers is not None and not _ascending(self.layers):
            raise ValueError(
                f"layers must be one or more block numbers in ascending order, got {self.layers}."
            )

    @property
    def uses_covariance(self) -> bool:
        """It always does."""
        return True

    def covariance_layers(self, n_layers: int) -> tuple[int, ...]:
        """All edited layers.

        Raises:
            ValueError: the model has not all of them.
        """
        if self.layers is None:
            first, last = (block_number(None, depth, n_layers) for depth in DEPTHS)
            return tuple(range(first, last + 1))
        return tuple(block_number(layer, 0, n_layers) for layer in self.layers)


def _ascending(layers: Sequence[int]) -> bool:
    return bool(layers) and list(layers) == sorted(set(layers))


@dataclass(frozen=True)
class LayerInsertion:
    """Delta W = residual adjusted^T of one layer's MLP output projection, as (out, in)."""

    layer: int
    keys: Tensor  # [n, m], each the mean of the bare prompt's key and the contexts' mean key
    current: Tensor  # [n, d], what the last layer's block answers just before this insertion
    adjusted: Tensor  # [m, n], what the editor solved for
    residual: Tensor  # [d, n], this layer's share of what is still missing

    def delta(self, lm: LanguageModel) -> WeightDelta:
        """The increment in the layout that the model stores."""
        name = f"{lm.architecture.mlp_out.format(self.layer)}.weight"
        return WeightDelta(name, lm.architecture.as_out_in(self.residual @ self.adjusted.T))


@dataclass(frozen=True)
class SpreadUpdate:
    """What one call writes: the wanted block outputs, and one insertion a layer from below."""

    solutions: tuple[ValueSolution, ...]  # one a request
    wanted: Tensor  # [n, d], at the subjects' last tokens
    insertions: tuple[LayerInsertion, ...]


HparamsT = TypeVar("HparamsT", bound=SpreadHparams)


class SpreadingEditor(WeightEditor[HparamsT]):
    """Finds what the last edited block should answer, then lets each layer supply its share."""

    def __init__(self, lm: LanguageModel, hparams: HparamsT, resources: Resources) -> None:
        super().__init__(lm, hparams, resources)
        self.layers = hparams.covariance_layers(lm.n_layers)

    @abstractmethod
    def solved(self, layer: int, keys: Tensor) -> Tensor:
        """The factor [m, n] that maps keys [m, n] of a layer to their residuals."""

    @property
    def together(self) -> int:
        """See the base class."""
        return requests_together(self.resources.templates)

    def compute(self, requests: Sequence[EditRequest]) -> SpreadUpdate:
        """The update for one or more requests on the model as it is; nothing stays written."""
        groups = [requests[i : i + self.together] for i in range(0, len(requests), self.together)]
        problems = [value_problem(self.lm, group, self.resources.templates) for group in groups]
        solutions = [one for problem in problems for one in self._solutions(problem)]
        return self._spread(problems, solutions)

    def _solutions(self, problem: ValueProblem) -> list[ValueSolution]:
        return optimise_values(
            self.lm,
            problem,
            self.hparams.value_settings(self.resources.stopping),
            layer=self.layers[-1],
            seen=value_pass(self.lm, problem, self.layers[-1:], steered="block"),
        )

    def _spread(
        self, problems: Sequence[ValueProblem], solutions: Sequence[ValueSolution]
    ) -> SpreadUpdate:
        """The insertions for values that were found on the model as it is now."""
        wanted = torch.stack([solution.outputs[0] + solution.delta for solution in solutions])
        insertions = []
        with tried_out(self.lm.model) as weights:
            for number, layer in enumerate(self.layers):
                remaining = len(self.layers) - number
                insertions.append(self._insertion(layer, problems, wanted, remaining))
                weights.add([insertions[-1].delta(self.lm)])
        return SpreadUpdate(tuple(solutions), wanted, tuple(insertions))

    def prepare(self, requests: Sequence[EditRequest]) -> list[Callable[[], None]]:
        """See the base class; values are optimised together."""
        if len(requests) == 1:
            return [partial(self.edit, requests)]
        templates = self.resources.templates
        solutions = self._solutions(value_problem(self.lm, requests, templates))
        problems = [value_problem(self.lm, [request], templates) for request in requests]
        return [
            partial(self._write, [problem], [solution])
            for problem, solution in zip(problems, solutions, strict=True)
        ]

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Write all requests together."""
        if requests:
            self._add(self.compute(requests))

    def _write(self, problems: Sequence[ValueProblem], solutions: Sequence[ValueSolution]) -> None:
        self._add(self._spread(problems, solutions))

    def _add(self, update: SpreadUpdate) -> None:
        """Write an update; subclasses may take note of it."""
        self._weights.add(insertion.delta(self.lm) for insertion in update.insertions)

    def _insertion(
        self, layer: int, problems: Sequence[ValueProblem], wanted: Tensor, remaining: int
    ) -> LayerInsertion:
        """One layer's update, where `remaining` layers still share the residual."""
        read = [self._read(layer, problem) for problem in problems]
        keys, current = (torch.cat(parts) for parts in zip(*read, strict=True))
        current = current.to(wanted)
        return LayerInsertion(
            layer,
            keys,
            current,
            adjusted=self.solved(layer, keys.T),
            residual=(wanted - current).T.double() / remaining,
        )

    @torch.no_grad()
    def _read(self, layer: int, problem: ValueProblem) -> tuple[Tensor, Tensor]:
        """Keys [K, m] of a layer, and outputs [K, d] of the last block for the bare prompts."""
        architecture, last = self.lm.architecture, self.layers[-1]
        with (
            captured_output(self.lm.module(architecture.block, last), stop=True) as output,
            captured_input(self.lm.module(architecture.mlp_out, layer)) as taken,
        ):
            self.lm.hidden_states(problem.batch)
        at_lookups = problem.rows, problem.lookups
        keys = problem.by_request(taken.value[at_lookups])[:, :-1]  # [K, R, m], bare prompts first
        return _grouped_means(keys), problem.by_request(output.value[at_lookups])[:, 0]


def _grouped_means(keys: Tensor) -> Tensor:
    """Means [K, m] of the bare prompt's key and of the mean key over the other contexts.

    The original averages inside groups of templates first, and the bare one is a group of its own.
    """
    bare, others = keys[:, 0], keys[:, 1:]
    return bare if not others.shape[1] else (bare + others.mean(dim=1)) / 2
