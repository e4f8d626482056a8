"""UltraEdit: lifelong edits by a least-squares shift, without training, subject or memory.

Gu et al., "UltraEdit: Training-, Subject-, and Memory-Free Lifelong Editing in Large Language
Models", 2025; written after the paper and the public implementation XiaojieGu/UltraEdit at 0beb222.
It is MALMEN with running statistics in the hypernetwork's place: with keys H and value gradients G
of a turn's answer tokens, and h~, g~ both normalised by the statistics of all tokens so far,

    V = -lr |h~|^2 g~  (a row a token),    dW = (H^T H + I)^-1 H^T V.

The original edits a hundred requests in one turn, and its first turn normalises itself. One edit a
turn, as the benchmark's protocol has it, would be normalised by its own few tokens, so that here
the statistics start from training edits on the pristine model (`warm_up`), one a turn too: the size
of a gradient goes with the number of tokens that share its loss. A forward batch with
one row counts with no spread, where the original's statistics become undefined for ever. Edited
weights are stored in float32. It is not in the tables of the RECIPE paper.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from editors.base import EditRequest, Hparams, Resources
from editors.malmen import shift_of
from editors.parts.artefact import required_training
from editors.parts.checks import check_above, check_at_least
from editors.parts.deltas import WeightEditor
from editors.parts.hypernetwork.networks import (
    Projection,
    RunningStatistics,
    deltas_of,
    gradient_factors,
    projections_of,
    request_rows,
)
from editors.parts.language_model import LanguageModel, block_number
from editors.parts.needs import EDIT_TOKENS, FORWARD, Needs, Setting
from editors.parts.tokens import Pair

# Relative depths of the first and last edited block where none are named: Mistral-7B's 29 and 30
# of 32.
DEPTHS = (29 / 32, 30 / 32)
RIDGE = 1.0  # beside the squared norms of keys (original)
_STATISTICS = "statistics."  # of a shape, in the state


@dataclass(frozen=True, kw_only=True)
class UltraEditHparams(Hparams):
    """Defaults are the original's, but for the warm-up."""

    layers: tuple[int, ...] | None = None  # whose output projections are edited; None: by depth
    gate_layers: tuple[int, ...] = ()  # whose first input projections are
    up_layers: tuple[int, ...] = ()  # whose second ones are
    lr: float = 1e-6
    forward_batch: int = 10
    warm_up: int = 100  # training edits that the statistics start from; ours

    def __post_init__(self) -> None:
        check_above("lr", self.lr, 0)
        check_at_least("forward_batch", self.forward_batch, 1)
        check_at_least("warm_up", self.warm_up, 0)

    @property
    def reads_training(self) -> bool:
        """To start the statistics."""
        return self.warm_up > 0


@dataclass(frozen=True)
class Features:
    """What one forward batch leaves at one projection: a row an answer token."""

    keys: Tensor  # [t, d_in]
    gradients: Tensor  # [t, d_out], of the mean loss over the batch's answer tokens

    @property
    def joined(self) -> Tensor:
        """[t, d_in + d_out]."""
        return torch.cat([self.keys, self.gradients], dim=1)


class Normaliser(RunningStatistics):
    """Statistics of all rows so far; b rows that come together count with the spread of b + 1."""

    def __init__(self, width: int, dtype: torch.dtype) -> None:
        super().__init__(width, eps=torch.finfo(dtype).eps, inflated=True)
        self.to(dtype)

    def _spread(self, rows: Tensor) -> Tensor:
        return super()._spread(rows) if len(rows) > 1 else torch.zeros_like(rows[0])


# Ours: what benchmarks/choose_hparams.py found on training edits.
MINIATURE = UltraEditHparams(layers=(3,), lr=1e-2)


class UltraEditEditor(WeightEditor[UltraEditHparams]):
    """Adds a shift for the requests of each call, which are one turn, to a few MLP projections.

    Over a stream weights and statistics add up; nothing protects earlier edits but small steps.
    Projections of one shape share their statistics.
    """

    family = "MP"
    version = 2
    label = "UltraEdit"
    in_paper = False
    table_row = 14
    mark = ("#44AA99", "H")
    edits_batches = True
    hparams_class = UltraEditHparams
    presets: ClassVar[Mapping[str, UltraEditHparams]] = {
        # XiaojieGu/UltraEdit config/model
        "gpt-j-6b": UltraEditHparams(layers=tuple(range(18, 27))),
        "mistral-7b-v0.3": UltraEditHparams(layers=(29, 30)),
        "llama-3-8b-instruct": UltraEditHparams(
            layers=(), gate_layers=tuple(range(11, 16)), up_layers=tuple(range(18, 25))
        ),
        "qwen2.5-7b-instruct": UltraEditHparams(
            layers=(), gate_layers=tuple(range(18, 27)), up_layers=tuple(range(18, 27))
        ),
        # Ours, not searched: Mistral's blocks, whose width class is LLaMA-2's; GPT-J's relative
        # depths, and a rate that gives as large a change as GPT-J's does at its width.
        "llama-2-7b": UltraEditHparams(layers=(29, 30)),
        "gpt2-xl": UltraEditHparams(layers=tuple(range(31, 47)), lr=2.5e-6),
        "mini-llama": MINIATURE,
        "mini-gptj": replace(MINIATURE, layers=(7,), lr=3e-3),
        "mini-gpt2": replace(MINIATURE, lr=1e-3),
        "smollm2-135m": UltraEditHparams(layers=(27, 28)),  # the default, among 30 blocks
        "default": UltraEditHparams(),
    }

    def __init__(self, lm: LanguageModel, hparams: UltraEditHparams, resources: Resources) -> None:
        """Start the statistics from training edits, unless the warm-up is 0.

        Raises:
            ValueError: no training edits, or projections that the model does not have.
        """
        super().__init__(lm, hparams, resources)
        self.projections = edited_projections(lm, hparams)
        self._dtype = torch.float64 if lm.dtype == torch.float64 else torch.float32
        self.normalisers = {
            projection.shape: Normaliser(projection.d_in + projection.d_out, self._dtype).to(
                lm.device
            )
            for projection in self.projections
        }
        if hparams.warm_up:
            samples = required_training(resources, label=self.label)[: hparams.warm_up]
            for sample in samples:  # one a turn, as edits come: a gradient is of a batch's mean
                self._observe(self.features([sample.request]))
        self._started = self._statistics()

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Add the requests to the statistics as one turn, and the shift for all of them."""
        if not requests:
            return
        features = self.features(requests)
        self._observe(features)
        matrices = {
            projection.path: self._shift(projection, features[projection.path])
            for projection in self.projections
        }
        self._weights.add(deltas_of(self.lm, self.projections, matrices))

    def features(self, requests: Sequence[EditRequest]) -> dict[str, list[Features]]:
        """Features of each forward batch, by path, on the model as it is."""
        features: dict[str, list[Features]] = {p.path: [] for p in self.projections}
        for rows in self.batches(requests):
            batch = self.lm.batch_of_pairs(rows)
            count = len(batch.labels)
            weights = torch.full((count,), 1 / count, dtype=self._dtype, device=self.lm.device)
            factors = gradient_factors(self.lm, self.projections, batch, weights, self._dtype)
            at = batch.scored_positions
            for path, factor in factors.items():
                features[path].append(Features(factor.inputs[at], factor.gradients[at]))
        return features

    def batches(self, requests: Sequence[EditRequest]) -> Iterator[list[Pair]]:
        """Forward batches of a turn: the longest rows first (original)."""
        rows = request_rows(requests, self.lm.tokenizer)
        rows.sort(key=lambda row: len(row[0]) + len(row[1]), reverse=True)
        size = self.hparams.forward_batch
        return (rows[start : start + size] for start in range(0, len(rows), size))

    def _observe(self, features: Mapping[str, Sequence[Features]]) -> None:
        for projection in self.projections:
            for batch in features[projection.path]:
                self.normalisers[projection.shape].update(batch.joined)

    @torch.no_grad()
    def _shift(self, projection: Projection, features: Sequence[Features]) -> Tensor:
        """The shift [d_in, d_out] of one weight for all T rows of a turn."""
        keys = torch.cat([batch.keys for batch in features])  # [T, d_in]
        normal = self.normalisers[projection.shape](torch.cat([b.joined for b in features]))
        normal_keys, normal_gradients = normal.split([projection.d_in, projection.d_out], dim=1)
        sizes = normal_keys.square().sum(dim=1, keepdim=True)
        wanted = -self.hparams.lr * sizes * normal_gradients  # [T, d_out]
        return shift_of(keys[None], wanted[None], keys.new_tensor(RIDGE))[0]

    def reset(self) -> None:
        """Restore the pristine weights and the statistics of the start."""
        super().reset()
        self._set_statistics(self._started)

    def state_dict(self) -> dict[str, Tensor]:
        """The edited parameters, and the statistics of each shape."""
        return super().state_dict() | self._statistics()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        own = {name for name in state if name.startswith(_STATISTICS)}
        super().load_state_dict({name: state[name] for name in state if name not in own})
        self._set_statistics({name: state[name] for name in own})

    def _statistics(self) -> dict[str, Tensor]:
        return {
            f"{_STATISTICS}{shape}.{name}": value.clone()
            for shape, normaliser in self.normalisers.items()
            for name, value in normaliser.state_dict().items()
        }

    def _set_statistics(self, state: Mapping[str, Tensor]) -> None:
        for shape, normaliser in self.normalisers.items():
            start = f"{_STATISTICS}{shape}."
            own = {name: value for name, value in state.items() if name.startswith(start)}
            normaliser.load_state_dict({k.removeprefix(start): v for k, v in own.items()})

    @classmethod
    def needs(cls, hparams: UltraEditHparams, on: Setting) -> Needs:
        """Two copies of the edited projections and their shifts; one is solved for in float64."""
        shape = on.shape
        layers = output_layers(hparams, shape.layers)
        edited = (*layers, *hparams.gate_layers, *hparams.up_layers)
        changed = len(edited) * shape.matrix
        below = FORWARD * shape.parameters * min(edited) / shape.layers
        statistics = 2 * 3 * 4.0 * (shape.hidden + shape.inner)  # of both shapes, and of the start
        return Needs(
            held=on.copies(changed) + 2 * statistics,
            working=4.0 * changed
            + 2 * 8.0 * shape.matrix
            + on.backward(hparams.forward_batch, min(edited)),
            edit_operations=EDIT_TOKENS * (below + on.both_ways(min(edited))),
        )


def output_layers(hparams: UltraEditHparams, n_layers: int) -> tuple[int, ...]:
    """Blocks whose output projections are edited: where none is named, at `DEPTHS`."""
    if hparams.layers is not None or hparams.gate_layers + hparams.up_layers:
        return hparams.layers or ()
    first, last = (block_number(None, depth, n_layers) for depth in DEPTHS)
    return tuple(range(first, last + 1))


def edited_projections(lm: LanguageModel, hparams: UltraEditHparams) -> tuple[Projection, ...]:
    """The projections that these hyper-parameters name, block by block.

    Raises:
        ValueError: the model has not all of them, or none is named.
    """
    row, layers = lm.architecture, output_layers(hparams, lm.n_layers)
    if hparams.up_layers and len(row.mlp_in) < 2:
        raise ValueError(f"{row.model_type} has one input projection a block, so no up_layers.")
    wanted = {row.mlp_out.format(layer) for layer in layers}
    wanted |= {row.mlp_in[0].format(layer) for layer in hparams.gate_layers}
    wanted |= {row.mlp_in[-1].format(layer) for layer in hparams.up_layers}
    blocks = sorted({*layers, *hparams.gate_layers, *hparams.up_layers})
    projections = [p for p in projections_of(lm, blocks, inputs=True) if p.path in wanted]
    if not projections:
        raise ValueError("UltraEdit edits at least one projection, got none.")
    return tuple(projections)
