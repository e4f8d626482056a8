"""Hyper-parameters that both hypernetwork editors have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from editors.base import Hparams
from editors.parts.checks import check_above, check_at_least
from editors.parts.needs import TRAIN_TOKENS, WITH_ADAM, Needs, Setting

Number = TypeVar("Number", float, Tensor)

_COUNTS = ("rank", "n_blocks", "batch_size", "micro_batch", "iterations", "checkpoint_interval")


@dataclass(frozen=True, kw_only=True)
class HypernetworkHparams(Hparams):
    """Counts of iterations are optimiser steps."""

    layers: tuple[int, ...] | None  # whose MLPs are edited; None: the last ones
    edit_rate: float  # initial value of the learned rates
    learning_rate: float  # of Adam
    weight_edit: float
    weight_locality: float
    max_grad_norm: float
    batch_size: int  # systems (independent edits, or groups made together) in one optimiser step
    micro_batch: int  # edits in one forward
    iterations: int
    checkpoint_interval: int
    patience: int | None  # iterations without a better checkpoint before training ends
    rank: int = 1920  # of the editor networks' linear maps; at most their width
    n_blocks: int = 2
    held_out: int = 200  # training samples a data set that select the checkpoint

    def __post_init__(self) -> None:
        for name in (*_COUNTS, "held_out"):
            check_at_least(name, vars(self)[name], 1)
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


def hypernetwork_needs(
    hparams: HypernetworkHparams, on: Setting, projections: int, trained: int, last_blocks: int
) -> Needs:
    """Of editor networks with `trained` parameters for so many projections.

    `last_blocks` are edited where the hyper-parameters name no layers.
    """
    first = min(hparams.layers or [max(on.shape.layers - last_blocks, 0)])
    changed = projections * on.shape.matrix
    training = on.backward(3 * hparams.micro_batch, first, tokens=TRAIN_TOKENS)
    return Needs(
        held=4.0 * trained + on.copies(changed),
        working=4.0 * changed + on.backward(1, first),
        trained=trained,
        training=WITH_ADAM * trained + training,
        artefact=4.0 * trained,
    )
