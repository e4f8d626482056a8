"""AlphaEdit: MEMIT in the null space of old keys ("Null-Space Constrained Knowledge Editing").

MEMIT with another solution for each layer: with P the projection onto the directions in which the
second moment C of old keys is small, new keys K, their residuals R and the sum M of earlier keys'
k k^T, it solves (P (K K^T + M) + lambda I) X = P K R^T. X lies in the range of P, so that it is the
ridge regression on projected keys K' = P K alone, earlier ones A' beside them:

    X = (lambda I + A' A'^T + K' K'^T)^-1 K' R^T,    dW = X^T

No output moves at keys that C has energy for, and little at those of earlier edits.

Fang et al., ICLR 2025; written after the paper and the public implementation
jianghoucheng/AlphaEdit at f5248d3, which edits a hundred requests a call; here a call brings what
the stream brings, which is one in the benchmark's protocol. It is not in the tables of the RECIPE
paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from editors.base import Resources
from editors.memit import MassEditor, MassHparams, MassUpdate
from editors.parts.checks import check_above
from editors.parts.covariance import inverse_of
from editors.parts.growing_rows import GrowingRows
from editors.parts.language_model import LanguageModel
from editors.parts.needs import EDIT_TOKENS, Needs, Setting
from editors.parts.target_value import value_rows

_PAST = "past_keys."  # of a layer's projected keys in the state


@dataclass(frozen=True, kw_only=True)
class AlphaEditHparams(MassHparams):
    """No setting for LLaMA-2 was published: defaults are EasyEdit's MEMIT with AlphaEdit's own."""

    nullspace_threshold: float = 2e-2  # of an eigenvalue of the keys' second moment
    L2: float = 10.0  # lambda, beside the squared norms of projected keys

    def __post_init__(self) -> None:
        super().__post_init__()
        check_above("nullspace_threshold", self.nullspace_threshold, 0)
        check_above("L2", self.L2, 0)


@dataclass(frozen=True)
class NullSpace:
    """Directions [m] in which old keys have little energy, by the thinner one of two bases."""

    basis: Tensor  # [m, r] of these directions, or [m, m - r] of all others
    complement: bool  # whether it is that of the others
    rank: int  # r

    @classmethod
    def of(cls, moment: Tensor, threshold: float) -> NullSpace:
        """Eigenvectors of C [m, m] with an eigenvalue below `threshold`."""
        values, vectors = torch.linalg.eigh(moment.double())  # ascending
        rank = int((values < threshold).sum())
        complement = 2 * rank > len(values)
        basis = vectors[:, rank:] if complement else vectors[:, :rank]
        return cls(basis.contiguous(), complement, rank)

    def project(self, keys: Tensor) -> Tensor:
        """P K [m, n] in float64."""
        keys = keys.double()
        part = self.basis @ (self.basis.T @ keys)
        return keys - part if self.complement else part


def ridge(past: Tensor, keys: Tensor, weight: float) -> Tensor:
    """(lambda I + A A^T)^-1 K [m, n], where A [m, N] are past keys [m, N - n] and K [m, n].

    Solved over keys or over dimensions, whichever are fewer.
    """
    every = torch.cat([past, keys], dim=1)
    size, count = every.shape
    if count < size:
        solved = _solve(every.T @ every, weight, every.T @ keys)
        return (keys - every @ solved) / weight
    return _solve(every @ every.T, weight, keys)


def _solve(gram: Tensor, weight: float, right: Tensor) -> Tensor:
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return torch.cholesky_solve(right, torch.linalg.cholesky(gram + weight * identity))


# jianghoucheng/AlphaEdit hparams/AlphaEdit: what its backbones share.
PUBLISHED = AlphaEditHparams(layers=None, v_weight_decay=0.5, clamp_norm_factor=0.75)


# Ours: what benchmarks/choose_hparams.py found on training edits.
MINIATURE = AlphaEditHparams(layers=(0, 1), nullspace_threshold=0.1, L2=1.0)


class AlphaEditEditor(MassEditor[AlphaEditHparams]):
    """Spreads facts over several layers inside the null space of old keys.

    Projections are those of the pristine model. The projected keys of all edits stay in memory, one
    of each layer an edit: they are what later edits spare.
    """

    family = "MP"
    label = "AlphaEdit"
    in_paper = False
    table_row = 12
    mark = ("#882255", "d")
    edits_batches = True
    uses_subject = True
    hparams_class = AlphaEditHparams
    presets: ClassVar[Mapping[str, AlphaEditHparams]] = {
        "gpt2-xl": replace(PUBLISHED, layers=(13, 14, 15, 16, 17), v_num_grad_steps=20),
        "gpt-j-6b": replace(PUBLISHED, layers=(3, 4, 5, 6, 7, 8)),
        "llama-3-8b": replace(PUBLISHED, layers=(4, 5, 6, 7, 8), v_lr=0.1),
        "llama-2-7b": AlphaEditHparams(layers=(4, 5, 6, 7, 8)),  # ours
        "mini-llama": MINIATURE,
        # All thresholds and ridges were tried for one layer, for two of them one combination.
        "mini-gptj": replace(MINIATURE, layers=(1,), nullspace_threshold=0.02),
        "mini-gpt2": replace(MINIATURE, layers=(0,), nullspace_threshold=0.02),
        "smollm2-135m": AlphaEditHparams(layers=(3, 4, 5, 6, 7)),  # the default, among 30 blocks
        "default": AlphaEditHparams(layers=None),
    }

    def __init__(self, lm: LanguageModel, hparams: AlphaEditHparams, resources: Resources) -> None:
        """Find the null space of every edited layer.

        Raises:
            ValueError: no covariance, one of too little text, or one without any direction below
                the threshold.
        """
        super().__init__(lm, hparams, resources)
        if resources.covariance is None:
            raise ValueError(
                "AlphaEdit needs the covariances of its layers' keys in its resources."
            )
        self.spaces: dict[int, NullSpace] = {}
        for layer in self.layers:
            moment = resources.covariance(layer).to(lm.device)
            inverse_of(moment, layer)  # what no key of too little text uses is no null space
            self.spaces[layer] = space = NullSpace.of(moment, hparams.nullspace_threshold)
            if not space.rank:
                raise ValueError(
                    f"The keys of layer {layer} have no direction below the threshold of "
                    f"{hparams.nullspace_threshold}: nullspace_threshold must be larger."
                )
        self._dtype = torch.float64 if lm.dtype == torch.float64 else torch.float32
        self._past = {layer: GrowingRows() for layer in self.layers}

    def solved(self, layer: int, keys: Tensor) -> Tensor:
        projected = self.spaces[layer].project(keys)
        past = self._past[layer]  # of the edits so far
        earlier = past.rows.to(projected).T if len(past) else projected[:, :0]  # [m, N]
        return ridge(earlier, projected, self.hparams.L2)

    def reset(self) -> None:
        """Restore the pristine weights and forget all keys."""
        super().reset()
        self._past = {layer: GrowingRows() for layer in self.layers}

    def state_dict(self) -> dict[str, Tensor]:
        """The edited parameters, and the projected keys [N, m] of each layer."""
        past = {layer: rows.rows for layer, rows in self._past.items() if len(rows)}
        keys = {f"{_PAST}{layer}": rows.clone() for layer, rows in past.items()}
        return super().state_dict() | keys

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        own = {name for name in state if name.startswith(_PAST)}
        super().load_state_dict({name: state[name] for name in state if name not in own})
        self._past = {layer: GrowingRows() for layer in self.layers}
        for name in own:
            rows = state[name].to(self.lm.device, self._dtype)
            self._past[int(name.removeprefix(_PAST))].extend(rows)

    def insert(self, update: MassUpdate) -> None:
        """Write an update, and store its projected keys."""
        super().insert(update)
        for insertion in update.insertions:
            projected = self.spaces[insertion.layer].project(insertion.keys.T)
            self._past[insertion.layer].extend(projected.T.to(self._dtype))

    @classmethod
    def needs(cls, hparams: AlphaEditHparams, on: Setting) -> Needs:
        """A basis [m, at most m / 2] in float64 and two copies of the projection a layer.

        A key of each layer an edit, and two copies in float64 of one layer's during an edit. While
        it is constructed: C, its copy, its eigenvectors and their workspace in float64.
        """
        shape, layers = on.shape, hparams.covariance_layers(on.shape.layers)
        square = shape.inner**2
        edit = on.backward(value_rows(hparams, on), layers[-1])
        # The steps of each value; the Gram matrix of the keys so far in each layer.
        rows = value_rows(hparams, on, together=False)
        steps = hparams.v_num_grad_steps * rows * EDIT_TOKENS * on.both_ways(layers[-1])
        gram = 2 * shape.inner * on.edits * min(on.edits, shape.inner) / 3
        return Needs(
            held=len(layers) * (4.0 * square + on.copies(shape.matrix)),
            working=max(edit + 8.0 * shape.matrix, 4 * 8.0 * square),
            per_edit=shape.inner * (4.0 * len(layers) + 2 * 8.0),
            edit_operations=steps + len(layers) * (gram + 2 * square),
        )
