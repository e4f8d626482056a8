"""What each editor holds beside the model, from its hyper-parameters and sizes alone.

Bytes; float32 unless said. W = d x m values of one MLP projection, P the model's parameters. An
editor of a kind that is not known here counts as needing nothing of its own, and is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

from bench.runner.costs.activations import BYTES, TRAIN_TOKENS, with_gradient
from bench.runner.costs.counts import (
    capacity,
    head_parameters,
    hypernetwork_parameters,
    projections,
    recipe_parameters,
)
from bench.runner.costs.shapes import EncoderShape, Shape
from editors.base import Hparams
from editors.ft import DEPTH as FT_DEPTH
from editors.ft import FtHparams
from editors.grace import DEPTH as GRACE_DEPTH
from editors.grace import GraceHparams
from editors.malmen import LAST_BLOCKS as MALMEN_BLOCKS
from editors.malmen import MalmenHparams
from editors.memit import MemitHparams
from editors.mend import LAST_BLOCKS as MEND_BLOCKS
from editors.mend import MendHparams
from editors.parts.hypernetwork.hparams import HypernetworkHparams
from editors.parts.layers import block_number
from editors.parts.lte.hparams import LteHparams
from editors.parts.recipe.hparams import RecipeHparams
from editors.parts.value_hparams import ValueHparams
from editors.parts.value_optimisation import ROWS
from editors.r_rome import RRomeHparams
from editors.rome import DEPTH as ROME_DEPTH
from editors.rome import RomeHparams
from editors.t_patcher import TPatcherHparams
from editors.wilke import WilkeHparams

GRACE_TOGETHER = 32  # single edits trained at once
TRAINED = 16  # bytes of a parameter, its gradient and Adam's two moments
CHECKPOINT = 16  # bytes of a parameter, its best value and the moments, in an unfinished training


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A model, and how it is used."""

    shape: Shape
    encoder: EncoderShape
    dtype: str
    singles: bool  # whether there are cells of one edit, of which some editors prepare several

    @property
    def weights(self) -> float:
        """Bytes of the model."""
        return self.shape.parameters * BYTES[self.dtype]

    def kept(self, values: float) -> float:
        """Pristine copies of changed weights, and float32 masters beside those of half precision.

        See `editors.parts.deltas`.
        """
        return values * (4 if self.dtype == "float32" else BYTES[self.dtype] + 4)

    def above(self, layer: int) -> int:
        """Blocks from `layer` on."""
        return self.shape.layers - layer

    def encoding(self) -> float:
        """A sentence encoder with its pooler."""
        return 4.0 * (self.encoder.parameters + self.encoder.pooler)


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Bytes of an editor beside the model; `training` is None where there is nothing to train."""

    held: float = 0.0  # from its construction on: networks, factors, pristine copies
    working: float = 0.0  # more while an edit is made
    per_edit: float = 0.0  # of what grows with the edits
    first: int = 0  # rows of what grows before the first edit
    training: float | None = None
    artefact: float = 0.0  # on disk
    checkpoint: float = 0.0  # on disk while it is trained
    kept: float = 0.0  # on disk for each distinct request
    known: bool = True

    def stored(self, edits: int) -> float:
        """State behind so many edits, spare rows included; half as much again while it grows."""
        return 1.5 * self.per_edit * capacity(edits + self.first)


@singledispatch
def needs(hparams: Hparams, setting: Setting) -> Needs:  # noqa: ARG001 - that of known editors
    """What an editor with these hyper-parameters needs."""
    return Needs(known=False)


@needs.register
def _ft(hparams: FtHparams, setting: Setting) -> Needs:
    """Two copies from before, gradient, Adam's two moments and the delta of one projection."""
    layer = block_number(hparams.layer, FT_DEPTH, setting.shape.layers)
    return Needs(
        held=setting.kept(setting.shape.matrix),
        working=6 * 4 * setting.shape.matrix
        + with_gradient(setting.shape, hparams.batch_size, setting.above(layer), setting.dtype),
    )


def value_rows(hparams: ValueHparams, setting: Setting, *, together: bool = True) -> int:
    """Rows of one optimisation: each context template, the bare prompt, and the essence.

    `together` counts those of all single edits that are prepared at once.
    """
    rows = len(hparams.context_lengths) + 2
    return rows * max(1, ROWS // rows) if setting.singles and together else rows


def _rome_parts(hparams: RomeHparams, setting: Setting) -> tuple[float, float]:
    """(inverse covariance, working memory) of one layer.

    The inverse is made in float64, of the matrix, its factors and the inverse.
    """
    shape, square = setting.shape, setting.shape.inner**2
    layer = block_number(hparams.layer, ROME_DEPTH, shape.layers)
    held = 4.0 * square if hparams.uses_covariance else 0.0
    rows = value_rows(hparams, setting)
    edit = with_gradient(shape, rows, setting.above(layer), setting.dtype) + 8.0 * shape.matrix
    return held, max(edit, 3 * 8.0 * square if hparams.uses_covariance else 0.0)


@needs.register
def _rome(hparams: RomeHparams, setting: Setting) -> Needs:
    """The inverse covariance [m, m] and one changed projection."""
    held, working = _rome_parts(hparams, setting)
    return Needs(held=held + setting.kept(setting.shape.matrix), working=working)


@needs.register
def _memit(hparams: MemitHparams, setting: Setting) -> Needs:
    """For each layer a factor [m, m] in float64 and two copies of the projection."""
    shape, layers = setting.shape, hparams.covariance_layers(setting.shape.layers)
    square = shape.inner**2
    factors = 0.0 if hparams.solver == "isotropic" else len(layers) * 8.0 * square
    rows = value_rows(hparams, setting)
    edit = with_gradient(shape, rows, setting.above(layers[-1]), setting.dtype)
    tried = len(layers) * setting.kept(shape.matrix) + 8.0 * shape.matrix
    return Needs(
        held=factors + len(layers) * setting.kept(shape.matrix),
        working=max(edit, tried, (8.0 + 4.0) * square),
    )


@needs.register
def _wilke(hparams: WilkeHparams, setting: Setting) -> Needs:
    """For each candidate layer an inverse covariance and, once it was chosen, a copy."""
    shape, layers = setting.shape, hparams.covariance_layers(setting.shape.layers)
    rows = len(hparams.context_lengths) + 2
    edit = with_gradient(shape, rows, setting.above(layers[0]), setting.dtype)
    return Needs(
        held=len(layers) * (4.0 * shape.inner**2 + setting.kept(shape.matrix)),
        working=max(edit + 8.0 * shape.matrix, 3 * 8.0 * shape.inner**2),
    )


@needs.register
def _mend(hparams: MendHparams, setting: Setting) -> Needs:
    """Editor networks; every projection of the last blocks is changed."""
    return _hypernetwork(hparams, setting, MEND_BLOCKS, inputs=True, rows=hparams.micro_batch)


@needs.register
def _malmen(hparams: MalmenHparams, setting: Setting) -> Needs:
    """As MEND for output projections, whose dense shifts and their gradients are kept too."""
    made = _hypernetwork(hparams, setting, MALMEN_BLOCKS, inputs=False, rows=hparams.micro_batch)
    layers = len(hparams.layers or range(min(MALMEN_BLOCKS, setting.shape.layers)))
    dense = hparams.batch_size * setting.shape.matrix * (8.0 * layers + 16.0)
    return Needs(**{**vars(made), "training": (made.training or 0.0) + dense})


def _hypernetwork(
    hparams: HypernetworkHparams, setting: Setting, blocks: int, *, inputs: bool, rows: int
) -> Needs:
    shape = setting.shape
    layers = len(hparams.layers or range(min(blocks, shape.layers)))
    first = min(hparams.layers or [max(shape.layers - blocks, 0)])
    found = projections(shape, layers, inputs=inputs)
    parameters = hypernetwork_parameters(found, hparams)
    changed = len(found) * shape.matrix
    above = setting.above(first)
    training = with_gradient(shape, 3 * rows, above, setting.dtype, TRAIN_TOKENS)
    return Needs(
        held=4.0 * parameters + setting.kept(changed),
        working=4.0 * changed + with_gradient(shape, 1, above, setting.dtype),
        training=TRAINED * parameters + training,
        artefact=4.0 * parameters,
        checkpoint=CHECKPOINT * parameters,
    )


@needs.register
def _t_patcher(hparams: TPatcherHparams, setting: Setting) -> Needs:  # noqa: ARG001
    """Keys, biases and a value of one neuron an edit; only the head is run."""
    shape = setting.shape
    return Needs(
        per_edit=4.0 * ((shape.inputs + 1) * shape.hidden + shape.inputs),
        working=with_gradient(shape, 1, 1, setting.dtype),
    )


@needs.register
def _grace(hparams: GraceHparams, setting: Setting) -> Needs:
    """A key, a value and a radius an edit."""
    shape = setting.shape
    layer = block_number(hparams.layer, GRACE_DEPTH, shape.layers)
    rows = GRACE_TOGETHER if setting.singles else 1
    return Needs(
        per_edit=4.0 * (shape.hidden + shape.inner + 1),
        working=with_gradient(shape, rows, setting.above(layer), setting.dtype),
    )


@needs.register
def _r_rome(hparams: RRomeHparams, setting: Setting) -> Needs:
    """ROME's covariance, encoder and heads; two vectors and a rank-one update an edit."""
    held, working = _rome_parts(hparams, setting)
    heads = head_parameters(hparams, setting.encoder)
    width = hparams.width if heads else setting.encoder.hidden
    update = 4.0 * (setting.shape.hidden + setting.shape.inner)
    stored = 2.0 if hparams.artefact_dtype == "float16" else 4.0
    return Needs(
        held=held + setting.encoding() + 4.0 * heads,
        working=working,
        per_edit=2 * 4.0 * width + update,
        training=TRAINED * heads + setting.encoding(),
        artefact=stored * heads,
        checkpoint=CHECKPOINT * heads,
        kept=update,
    )


@needs.register
def _lte(hparams: LteHparams, setting: Setting) -> Needs:
    """The follower changes every weight: a pristine copy of all; increments wait on the host.

    Trained in float32: the follower and its gradients, increments and Adam's moments, beside the
    frozen model; all blocks keep what they compute.
    """
    shape = setting.shape
    activations = with_gradient(
        shape, 4 * hparams.batch_size, shape.layers, "float32", TRAIN_TOKENS
    )
    return Needs(
        held=setting.kept(shape.parameters) + setting.encoding(),
        per_edit=4.0 * setting.encoder.hidden,
        training=(4 + TRAINED) * shape.parameters + setting.encoding() + activations,
        artefact=2.0 * shape.parameters,
        checkpoint=CHECKPOINT * shape.parameters,
    )


@needs.register
def _recipe(hparams: RecipeHparams, setting: Setting) -> Needs:
    """The network; a key and a prompt an edit, the sentinel's in front.

    In training all blocks keep what they compute, for gradients of the prompts.
    """
    shape = setting.shape
    network = recipe_parameters(hparams, shape, setting.encoder)
    stored = 2.0 if hparams.artefact_dtype == "float16" else 4.0
    activations = with_gradient(
        shape, 3 * hparams.batch_size, shape.layers, setting.dtype, TRAIN_TOKENS
    )
    return Needs(
        held=4.0 * network,
        per_edit=4.0 * (hparams.representation_width + hparams.prompt_length * shape.hidden),
        first=1,
        training=TRAINED * network + activations,
        artefact=stored * network,
        checkpoint=CHECKPOINT * network,
    )
