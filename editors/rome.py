"""ROME: a rank-one edit of one MLP ("Locating and Editing Factual Associations in GPT", 2022).

The MLP's output projection W of one layer is a memory of keys k with values W k. A fact is written
by three steps (section 3.1): a key k* of the subject, a value v* that makes the model answer the
target, and the smallest change of W with (W + dW) k* = v* that spares other keys (eq. 2):

    dW = Lambda u^T,   u = C^-1 k* / |C^-1 k*|,   Lambda = (v* - W k*) / (k* . u)

where C is the second moment of keys over plain text. Written after the paper and the public
implementation kmeng01/rome; the `easyedit` and `rebuilt_*` modes after zjunlp/EasyEdit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from editors.base import EditRequest, Resources
from editors.parts.checks import check_choice
from editors.parts.covariance import InverseCovariance
from editors.parts.deltas import WeightDelta, WeightEditor
from editors.parts.fast_paths import FastPaths, Stopping
from editors.parts.language_model import LanguageModel, block_number
from editors.parts.needs import Needs, Setting
from editors.parts.target_value import (
    TargetRows,
    TargetValue,
    UneditedPass,
    ValueHparams,
    optimise_targets,
    requests_at_once,
    unedited_pass,
    value_rows,
)

# `easyedit` is the original form without covariance, as EasyEdit's configurations ship it.
RomeMode = Literal["original", "easyedit", "rebuilt_prefix", "rebuilt_prompt"]

# Which key stands where (kmeng01/rome, and EasyEdit's R-ROME after "Rebuilding ROME", 2403.07175):
# `original`: the direction from the mean key over contexts, the divisor from the bare prompt's key;
# `rebuilt_prefix`: the mean key in both places; `rebuilt_prompt`: the bare prompt's key in both.
RankOneForm = Literal["original", "rebuilt_prefix", "rebuilt_prompt"]

# Relative depth of the edited block where none is named: LLaMA-2-7B's 5 of 32.
DEPTH = 5 / 32


@dataclass(frozen=True, kw_only=True)
class RomeHparams(ValueHparams):
    """Which block is written, and how; the value's defaults are the original's for GPT-J."""

    layer: int | None  # None: at a relative depth of 5/32
    mode: RomeMode = "original"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("mode", self.mode, RomeMode)

    @property
    def uses_covariance(self) -> bool:
        """All modes but EasyEdit's do."""
        return self.mode != "easyedit"

    def covariance_layers(self, n_layers: int) -> tuple[int, ...]:
        """The edited layer, unless the mode does without covariance."""
        if not self.uses_covariance:
            return ()
        return (block_number(self.layer, DEPTH, n_layers),)

    @property
    def form(self) -> RankOneForm:
        """Which keys the rank-one write uses."""
        return "original" if self.mode == "easyedit" else self.mode


def compute_u(keys: Tensor, inverse_covariance: Tensor | None, form: RankOneForm) -> Tensor:
    """Step 1: the direction u [m], C^-1 k* at unit length.

    Args:
        keys: [R, m] at the subject's last token under each context template, the bare one first;
            k* is their mean (eq. 3).
        inverse_covariance: C^-1 [m, m]; without it u has the direction of k* itself.
        form: which key is k*.
    """
    direction = keys[0] if form == "rebuilt_prompt" else keys.mean(dim=0)
    if inverse_covariance is not None:
        direction = inverse_covariance.to(direction) @ direction
    u: Tensor = direction / direction.norm()
    return u


def compute_v(target: TargetValue, keys: Tensor, u: Tensor, form: RankOneForm) -> Tensor:
    """Steps 2 and 3: Lambda [d] for a target value v*, which `optimise_targets` found (eq. 4).

    v* - W k* is the optimised delta where both are the bare prompt's.
    """
    if form == "rebuilt_prefix":
        change = target.value - target.outputs.mean(dim=0)
        return change / (keys.mean(dim=0) @ u)
    return target.delta / (keys[0] @ u)


@dataclass(frozen=True)
class RankOneUpdate:
    """dW = v u^T of one layer's MLP output projection, as (out, in)."""

    layer: int
    v: Tensor  # [d]
    u: Tensor  # [m], of unit length
    keys: Tensor  # [R, m], of the subject's last token under each template, the bare one first
    target: TargetValue

    def delta(self, lm: LanguageModel) -> WeightDelta:
        name = f"{lm.architecture.mlp_out.format(self.layer)}.weight"
        return WeightDelta(name, lm.architecture.as_out_in(torch.outer(self.v, self.u)))


def rank_one_updates(
    lm: LanguageModel,
    rows: TargetRows,
    unedited: UneditedPass,
    hparams: ValueHparams,
    *,
    layer: int,
    inverse_covariance: Tensor | None,
    form: RankOneForm = "original",
    stopping: Stopping = "by_loss",
) -> list[RankOneUpdate]:
    """The update of each request at one layer; nothing is written.

    Keys depend neither on the blocks above nor, in a causal model, on the target after them, so
    they are read from the pass that the optimisation starts from, which may serve several layers.
    """
    targets = optimise_targets(lm, rows, hparams, layer=layer, unedited=unedited, stopping=stopping)
    updates = []
    for target, every in zip(targets, unedited.keys[layer], strict=True):
        keys = every[:-1].to(target.delta)  # [R, m], without the essence row
        u = compute_u(keys, inverse_covariance, form)
        updates.append(RankOneUpdate(layer, compute_v(target, keys, u, form), u, keys, target))
    return updates


class RomeEditor(FastPaths, WeightEditor[RomeHparams]):
    """Writes each fact into one MLP's output projection as a rank-one update, one after another.

    Keys, values and the essence distribution are those of the model as edited so far; covariance
    and templates those of the pristine model. Without templates in the resources, the bare prompt
    is the only context.
    """

    family = "MP"
    label = "ROME"
    table_row = 3
    mark = ("#009E73", "^")
    uses_subject = True
    hparams_class = RomeHparams
    # zjunlp/EasyEdit hparams/ROME: mom2_adjustment is false in all three (April 2024 and today).
    as_in_paper: ClassVar[Mapping[str, Mapping[str, Any]]] = {"": {"mode": "easyedit"}}
    presets: ClassVar[Mapping[str, RomeHparams]] = {
        # kmeng01/rome hparams/ROME/gpt2-xl.json, EleutherAI_gpt-j-6B.json
        "gpt2-xl": RomeHparams(layer=17),
        "gpt-j-6b": RomeHparams(layer=5),
        # zjunlp/EasyEdit hparams/ROME/llama-7b.yaml
        "llama-2-7b": RomeHparams(layer=5, v_num_grad_steps=25, v_weight_decay=1e-3),
        # Ours: five prefixes, and layer and rate that benchmarks/choose_hparams.py found.
        "mini-llama": RomeHparams(layer=0, v_weight_decay=1e-3, context_lengths=(10,) * 5),
        "mini-gptj": RomeHparams(layer=3, context_lengths=(10,) * 5),
        "mini-gpt2": RomeHparams(layer=0, v_lr=1.0, context_lengths=(10,) * 5),
        # The default, among 30 blocks.
        "smollm2-135m": RomeHparams(layer=4, context_lengths=(10,) * 5),
        "default": RomeHparams(layer=None, context_lengths=(10,) * 5),
    }

    def __init__(self, lm: LanguageModel, hparams: RomeHparams, resources: Resources) -> None:
        super().__init__(lm, hparams, resources)
        self.layer = block_number(hparams.layer, DEPTH, lm.n_layers)
        self._inverse: InverseCovariance | None = None
        if hparams.uses_covariance:
            if resources.covariance is None:
                raise ValueError(
                    "ROME needs the covariance of its layer's keys in its resources; "
                    "provide it, or choose the mode 'easyedit', which does without."
                )
            self._inverse = InverseCovariance(resources.covariance)

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Write the requests one after another."""
        for request in requests:
            self.insert(*self.compute([request]))

    def compute(self, requests: Sequence[EditRequest]) -> list[RankOneUpdate]:
        """The update for each request on the model as it is now; nothing is written."""
        weight = self.lm.module(self.lm.architecture.mlp_out, self.layer).get_parameter("weight")
        rows = TargetRows.of(self.lm, requests, self.resources.templates)
        return rank_one_updates(
            self.lm,
            rows,
            unedited_pass(self.lm, rows, [self.layer]),
            self.hparams,
            layer=self.layer,
            inverse_covariance=None if self._inverse is None else self._inverse(self.layer, weight),
            form=self.hparams.form,
            stopping=self.resources.stopping,
        )

    def insert(self, update: RankOneUpdate) -> None:
        self._weights.add([update.delta(self.lm)])

    @property
    def edits_at_once(self) -> int:
        return requests_at_once(self.resources.templates)

    def prepare(self, requests: Sequence[EditRequest]) -> list[Callable[[], None]]:
        """See the base class; values are optimised together."""
        return [partial(self.insert, update) for update in self.compute(requests)]

    @classmethod
    def needs(cls, hparams: RomeHparams, on: Setting) -> Needs:
        """The inverse covariance [m, m], inverted in float64, and one edited projection."""
        square = on.shape.inner**2 if hparams.uses_covariance else 0
        layer = block_number(hparams.layer, DEPTH, on.shape.layers)
        edit = on.backward(value_rows(hparams, on), layer) + 8.0 * on.shape.matrix
        return Needs(
            held=4.0 * square + on.copies(on.shape.matrix), working=max(edit, 3 * 8.0 * square)
        )
