"""MEMIT: many facts at once, spread over several MLPs ("Mass-Editing Memory", Meng et al., 2023).

Algorithm 1 of the paper, for n requests together:

    z = h + delta                                 target output of the last edited block (eq. 16)
    for each edited layer, from below:
        K [m, n]                                  keys, means over contexts (eq. 19)
        R = (z - h) / remaining layers            [d, n], h recomputed after each layer (eq. 20)
        dW = R K^T (lambda C + K K^T)^-1          least squares that spares old keys (eq. 14)

Written after the paper and the public implementation kmeng01/memit.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar, Literal, TypeVar

import torch
from torch import Tensor

from editors.base import EditRequest, Resources
from editors.parts.checks import check_above, check_choice
from editors.parts.covariance import inverse_of
from editors.parts.deltas import WeightDelta, WeightEditor, tried_out
from editors.parts.fast_paths import FastPaths
from editors.parts.hooks import captured_input, captured_output
from editors.parts.language_model import LanguageModel, block_number
from editors.parts.needs import Needs, Setting
from editors.parts.suffixes import resumed
from editors.parts.target_value import (
    TargetRows,
    TargetValue,
    ValueHparams,
    optimise_targets,
    requests_at_once,
    unedited_pass,
    value_rows,
)

# `cached` factorises C once per layer and solves an n x n system for each edit, by the Woodbury
# identity; `direct` solves the m x m system each time, as the original. Equal but for rounding.
# `isotropic` is ours, to see what the covariance does: C's mean eigenvalue times the identity in
# its place, so that lambda means the same and no direction of the keys is spared.
Solver = Literal["cached", "direct", "isotropic"]

# Relative depths of the first and last edited block where none are named: EasyEdit's 4 to 8 of
# LLaMA-2-7B's 32.
DEPTHS = (4 / 32, 8 / 32)


@dataclass(frozen=True, kw_only=True)
class MassHparams(ValueHparams):
    """Defaults are those of EasyEdit's MEMIT for LLaMA-2-7B."""

    layers: tuple[int, ...] | None  # ascending; None: at relative depths of 4/32 to 8/32
    v_num_grad_steps: int = 25
    v_weight_decay: float = 1e-3
    context_lengths: tuple[int, ...] = (10,) * 5

    def __post_init__(self) -> None:
        super().__post_init__()
        layers = self.layers
        if layers is not None and (not layers or list(layers) != sorted(set(layers))):
            raise ValueError(
                f"layers must be one or more block numbers in ascending order, got {self.layers}."
            )

    def covariance_layers(self, n_layers: int) -> tuple[int, ...]:
        """All edited layers.

        Raises:
            ValueError: the model has not all of them.
        """
        if self.layers is None:
            first, last = (block_number(None, depth, n_layers) for depth in DEPTHS)
            return tuple(range(first, last + 1))
        return tuple(block_number(layer, 0, n_layers) for layer in self.layers)


@dataclass(frozen=True)
class LayerInsertion:
    """dW = residual adjusted^T of one layer's MLP output projection, as (out, in)."""

    layer: int
    keys: Tensor  # [n, m], each the mean of the bare prompt's key and the contexts' mean key
    current: Tensor  # [n, d], the last layer's block output just before this insertion
    adjusted: Tensor  # [m, n], K^T (lambda C + K K^T)^-1 transposed
    residual: Tensor  # [d, n], this layer's share of the remaining change

    def delta(self, lm: LanguageModel) -> WeightDelta:
        name = f"{lm.architecture.mlp_out.format(self.layer)}.weight"
        return WeightDelta(name, lm.architecture.as_out_in(self.residual @ self.adjusted.T))


@dataclass(frozen=True)
class MassUpdate:
    """What one call writes: the target block outputs, and one insertion a layer from below."""

    targets: tuple[TargetValue, ...]  # one a request
    z: Tensor  # [n, d], at the subjects' last tokens
    insertions: tuple[LayerInsertion, ...]


Entered = tuple[int, Tensor]  # a block, and the states [B, T, d] that enter it

MassHparamsT = TypeVar("MassHparamsT", bound=MassHparams)


class MassEditor(FastPaths, WeightEditor[MassHparamsT]):
    """MEMIT's algorithm but for how a layer is solved for, which AlphaEdit changes."""

    def __init__(self, lm: LanguageModel, hparams: MassHparamsT, resources: Resources) -> None:
        super().__init__(lm, hparams, resources)
        self.layers = hparams.covariance_layers(lm.n_layers)

    @abstractmethod
    def solved(self, layer: int, keys: Tensor) -> Tensor:
        """The factor [m, n] that maps keys [m, n] of a layer to their residuals."""

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Write all requests together."""
        if requests:
            self.insert(self.compute(requests))

    def compute(self, requests: Sequence[EditRequest]) -> MassUpdate:
        """The update for one or more requests on the model as it is; nothing stays written."""
        size = self.edits_at_once
        groups = [
            TargetRows.of(self.lm, requests[i : i + size], self.resources.templates)
            for i in range(0, len(requests), size)
        ]
        return self.spread(groups, [z for rows in groups for z in self.compute_z(rows)])

    def compute_z(self, rows: TargetRows) -> list[TargetValue]:
        """Target outputs of the last edited block (eq. 16)."""
        last = self.layers[-1]
        return optimise_targets(
            self.lm,
            rows,
            self.hparams,
            layer=last,
            unedited=unedited_pass(self.lm, rows, [last], steered="block"),
            stopping=self.resources.stopping,
        )

    def spread(self, groups: Sequence[TargetRows], targets: Sequence[TargetValue]) -> MassUpdate:
        """The insertions for targets that were computed on the model as it is now."""
        z = torch.stack([target.value for target in targets])  # [n, d]
        insertions = []
        entered: Entered | None = None
        with tried_out(self.lm.model) as weights:
            for number, layer in enumerate(self.layers):
                keys, current, entered = self._keys_and_outputs(layer, groups, entered)
                current = current.to(z)
                insertion = LayerInsertion(
                    layer,
                    keys,
                    current,
                    adjusted=self.solved(layer, keys.T),
                    residual=(z - current).T.double() / (len(self.layers) - number),  # eq. 20
                )
                insertions.append(insertion)
                weights.add([insertion.delta(self.lm)])
        return MassUpdate(tuple(targets), z, tuple(insertions))

    def insert(self, update: MassUpdate) -> None:
        """Write an update; subclasses may take note of it."""
        self._weights.add(insertion.delta(self.lm) for insertion in update.insertions)

    @torch.no_grad()
    def _keys_and_outputs(
        self, layer: int, groups: Sequence[TargetRows], entered: Entered | None
    ) -> tuple[Tensor, Tensor, Entered | None]:
        """Keys [n, m] of a layer, and outputs [n, d] of the last block for the bare prompts.

        The blocks below the last layer that was written are not run again: `entered` it, and the
        third result enters this one. Of several groups nothing is stored.
        """
        block, last = self.lm.architecture.block, self.layers[-1]
        keys, outputs = [], []
        for rows in groups:
            written, top = self.lm.module(block, layer), self.lm.module(block, last)
            mlp_out = self.lm.module(self.lm.architecture.mlp_out, layer)
            with (
                nullcontext() if entered is None else resumed(self.lm, *entered),
                captured_output(top, stop=True) as output,
                captured_input(written) as entering,
                captured_input(mlp_out) as taken,
            ):
                self.lm.hidden_states(rows.batch)
            keys.append(mean_keys(rows.at_subjects(taken.value)[:, :-1]))
            outputs.append(rows.at_subjects(output.value)[:, 0])
        alone = len(groups) == 1
        return torch.cat(keys), torch.cat(outputs), (layer, entering.value) if alone else None

    @property
    def edits_at_once(self) -> int:
        return requests_at_once(self.resources.templates)

    def prepare(self, requests: Sequence[EditRequest]) -> list[Callable[[], None]]:
        """See the base class; targets are optimised together."""
        if len(requests) == 1:
            return [partial(self.edit, requests)]
        templates = self.resources.templates
        targets = self.compute_z(TargetRows.of(self.lm, requests, templates))
        rows = [TargetRows.of(self.lm, [request], templates) for request in requests]

        def edit(rows: TargetRows, target: TargetValue) -> None:
            self.insert(self.spread([rows], [target]))

        return [partial(edit, *pair) for pair in zip(rows, targets, strict=True)]


def mean_keys(keys: Tensor) -> Tensor:
    """Means [K, m] (eq. 19) of keys [K, R, m] of which the bare prompt's is the first.

    The original averages inside groups of templates first, and the bare one is a group of its own.
    """
    bare, others = keys[:, 0], keys[:, 1:]
    return bare if not others.shape[1] else (bare + others.mean(dim=1)) / 2


@dataclass(frozen=True, kw_only=True)
class MemitHparams(MassHparams):
    """Defaults are EasyEdit's for LLaMA-2-7B."""

    mom2_update_weight: float = 15_000.0  # lambda: how many old keys the covariance stands for
    solver: Solver = "cached"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_above("mom2_update_weight", self.mom2_update_weight, 0)
        check_choice("solver", self.solver, Solver)


# Ours: layers and weight that benchmarks/choose_hparams.py found on training edits.
MINIATURE = MemitHparams(layers=(0, 1), mom2_update_weight=50.0)


class MemitEditor(MassEditor[MemitHparams]):
    """Spreads facts over several layers, sparing the old keys that the covariance stands for.

    Requests of one call are solved for together; calls follow each other on the weights as edited
    so far, with the covariance and the templates of the pristine model. Without templates in the
    resources, the bare prompt is the only context.
    """

    family = "MP"
    label = "MEMIT"
    table_row = 4
    mark = ("#E69F00", "v")
    edits_batches = True
    uses_subject = True
    hparams_class = MemitHparams
    presets: ClassVar[Mapping[str, MemitHparams]] = {
        # kmeng01/memit hparams/MEMIT/{gpt2-xl,EleutherAI_gpt-j-6B}.json
        "gpt2-xl": MemitHparams(
            layers=(13, 14, 15, 16, 17),
            v_num_grad_steps=20,
            v_weight_decay=0.5,
            clamp_norm_factor=0.75,
            mom2_update_weight=20_000.0,
        ),
        "gpt-j-6b": MemitHparams(
            layers=(3, 4, 5, 6, 7, 8), v_weight_decay=0.5, clamp_norm_factor=0.75
        ),
        # zjunlp/EasyEdit hparams/MEMIT/llama-7b.yaml
        "llama-2-7b": MemitHparams(layers=(4, 5, 6, 7, 8)),
        "mini-llama": MINIATURE,
        "mini-gpt2": replace(MINIATURE, layers=(0,), mom2_update_weight=500.0),
        "mini-gptj": replace(MINIATURE, layers=(1,), mom2_update_weight=500.0),
        "smollm2-135m": MemitHparams(layers=(3, 4, 5, 6, 7)),  # the default, among 30 blocks
        "default": MemitHparams(layers=None),
    }

    def __init__(self, lm: LanguageModel, hparams: MemitHparams, resources: Resources) -> None:
        super().__init__(lm, hparams, resources)
        if resources.covariance is None:
            raise ValueError("MEMIT needs the covariances of its layers' keys in its resources.")
        self._solve = KeySolver(resources.covariance, hparams.mom2_update_weight, hparams.solver)

    def solved(self, layer: int, keys: Tensor) -> Tensor:
        """(lambda C + K K^T)^-1 K [m, n] for keys [m, n] of a layer."""
        return self._solve(layer, keys)

    @classmethod
    def needs(cls, hparams: MemitHparams, on: Setting) -> Needs:
        """For each layer a factor [m, m] in float64 and two copies of the projection."""
        shape, layers = on.shape, hparams.covariance_layers(on.shape.layers)
        square, copies = shape.inner**2, len(layers) * on.copies(shape.matrix)
        factors = 0.0 if hparams.solver == "isotropic" else len(layers) * 8.0 * square
        edit = on.backward(value_rows(hparams, on), layers[-1])
        return Needs(
            held=factors + copies,
            working=max(edit, copies + 8.0 * shape.matrix, (8.0 + 4.0) * square),
        )


@dataclass
class KeySolver:
    """(lambda C + K K^T)^-1 K by layer (eq. 14), in float64, for n new keys K [m, n].

    The factor [m, m] of a layer stays on its device.
    """

    covariance: Callable[[int], Tensor]
    weight: float  # lambda: how many old keys C stands for
    solver: Solver = "cached"
    _factors: dict[int, Tensor] = field(default_factory=dict, init=False)
    _checked: set[int] = field(default_factory=set, init=False)

    def __call__(self, layer: int, keys: Tensor) -> Tensor:
        """Solve for keys [m, n] of a layer; the result is [m, n] in float64.

        Raises:
            ValueError: the system is singular, which means that C saw too little text.
        """
        keys = keys.double()
        return self._direct(layer, keys) if self.solver == "direct" else self._cached(layer, keys)

    def _direct(self, layer: int, keys: Tensor) -> Tensor:
        matrix = self.weight * self._moment(layer, keys) + keys @ keys.T
        solved: Tensor
        solved, failed = torch.linalg.solve_ex(matrix, keys)
        _check(layer, failed)
        return solved

    def _cached(self, layer: int, keys: Tensor) -> Tensor:
        spread = self._inverse_times(layer, keys) / self.weight  # [m, n]
        inner = torch.eye(keys.shape[1], dtype=keys.dtype, device=keys.device) + keys.T @ spread
        solved: Tensor = torch.linalg.solve(inner, spread, left=False)
        return solved

    def _inverse_times(self, layer: int, keys: Tensor) -> Tensor:
        """C^-1 K [m, n]."""
        if self.solver == "isotropic":
            mean = self.covariance(layer).diagonal().mean().to(keys)
            _check(layer, mean <= 0)
            return keys / mean
        if layer not in self._factors:
            factor, failed = torch.linalg.cholesky_ex(self._moment(layer, keys))
            _check(layer, failed)
            self._factors[layer] = factor
        return torch.cholesky_solve(keys, self._factors[layer])

    def _moment(self, layer: int, like: Tensor) -> Tensor:
        moment = self.covariance(layer).to(like)
        if layer not in self._checked:
            inverse_of(moment, layer)
            self._checked.add(layer)
        return moment


def _check(layer: int, failed: Tensor) -> None:
    if failed.any():
        raise ValueError(
            f"The key covariance of layer {layer} is not positive definite; "
            "compute it over more text."
        )
