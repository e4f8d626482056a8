"""What editors of later papers hold beside the model: registers with `needs.needs`."""

from __future__ import annotations

from bench.runner.costs.activations import with_gradient
from bench.runner.costs.needs import Needs, Setting, needs, value_rows
from editors.alphaedit import AlphaEditHparams
from editors.ike import IkeHparams
from editors.parts.in_context import InContextHparams
from editors.parts.layers import block_number
from editors.parts.wise.hparams import WiseHparams
from editors.ultraedit import DEPTHS as ULTRAEDIT_DEPTHS
from editors.ultraedit import UltraEditHparams
from editors.wise import DEPTH as WISE_DEPTH

_EIGEN = 4 * 8.0  # bytes of a value of C, its copy, its eigenvectors and their workspace
_SIDE = 6 * 4.0  # bytes of a value of a memory in training: leaf, gradient, mask, decay, steps


@needs.register
def _alphaedit(hparams: AlphaEditHparams, setting: Setting) -> Needs:
    """A basis [m, at most m / 2] in float64 and two copies of the projection a layer.

    A key of each layer an edit, and two copies in float64 of one layer's while an edit is made.
    """
    shape, layers = setting.shape, hparams.covariance_layers(setting.shape.layers)
    square, rows = shape.inner**2, value_rows(hparams, setting)
    edit = with_gradient(shape, rows, setting.above(layers[-1]), setting.dtype)
    return Needs(
        held=len(layers) * (4.0 * square + setting.kept(shape.matrix)),
        working=max(edit + 8.0 * shape.matrix, _EIGEN * square),
        per_edit=shape.inner * (4.0 * len(layers) + 2 * 8.0),
    )


@needs.register
def _wise(hparams: WiseHparams, setting: Setting) -> Needs:
    """The memory in progress and those that wait for a merge; a merged one stays each time."""
    shape, matrix = setting.shape, 4.0 * setting.shape.matrix
    layer = block_number(hparams.layer, WISE_DEPTH, shape.layers)
    waiting = hparams.merge_freq // hparams.save_freq
    joined = hparams.mode == "merge"
    original = 0.0 if setting.dtype == "float32" else matrix  # else the model's own
    rows = len(hparams.context_lengths) + 2
    return Needs(
        held=original + matrix * (1 + waiting + joined),
        working=_SIDE * shape.matrix
        + with_gradient(shape, rows, setting.above(layer), setting.dtype),
        per_edit=0.0 if joined else matrix / hparams.merge_freq,
    )


@needs.register
def _ultraedit(hparams: UltraEditHparams, setting: Setting) -> Needs:
    """Two copies of the edited projections and their shifts; one is solved for in float64."""
    shape = setting.shape
    layers = hparams.layers
    if layers is None and not hparams.gate_layers + hparams.up_layers:
        layers = tuple(block_number(None, depth, shape.layers) for depth in ULTRAEDIT_DEPTHS)
        layers = tuple(range(layers[0], layers[1] + 1))
    edited = (*(layers or ()), *hparams.gate_layers, *hparams.up_layers)
    changed = len(edited) * shape.matrix
    above = setting.above(min(edited))
    statistics = 2 * 3 * 4.0 * (shape.hidden + shape.inner)  # of both shapes, and of the start
    return Needs(
        held=setting.kept(changed) + 2 * statistics,
        working=4.0 * changed
        + 2 * 8.0 * shape.matrix
        + with_gradient(shape, hparams.forward_batch, above, setting.dtype),
    )


@needs.register
def _in_context(hparams: InContextHparams, setting: Setting) -> Needs:
    """The encoder and a key an edit; of IKE's pool a key each. Texts lie on the host."""
    key = 4.0 * setting.encoder.hidden
    pool = hparams.pool if isinstance(hparams, IkeHparams) and hparams.demonstrations else 0
    return Needs(held=setting.encoding() + pool * key, per_edit=key)
