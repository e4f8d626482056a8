"""MEND: weight changes from transformed gradients ("Fast Model Editing at Scale", ICLR 2022).

The gradient of an edit's loss with respect to a weight is a sum of outer products of the weight's
inputs and of the gradients at its outputs. A trained network maps each pair of factors to
pseudo-factors, whose outer products, times a learned rate, are added to the weight.

Written after the paper and the public implementation eric-mitchell/mend at e04fdb9c; the mode
`easyedit` after zjunlp/EasyEdit at 14cea824.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from editors.base import EditRequest
from editors.parts.checks import check_above, check_choice
from editors.parts.hypernetwork.networks import (
    Factors,
    Hypernetwork,
    HypernetworkHparams,
    LowRankShift,
    Projection,
    deltas_of,
    gradient_factors,
    group_means,
    request_rows,
)
from editors.parts.hypernetwork.training import (
    HypernetworkEditor,
    MetaBatch,
    Objective,
    Positions,
    Shifts,
    answer_nll,
    locality_kl,
)
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import Pair
from editors.parts.training.loop import Selection

# `live_rate` trains the edit rates with `edit_rate_learning_rate`. In `original` they move with the
# networks' own rate, because the released code clears their gradients before it steps their
# optimiser. `easyedit` does that too; it scores the edit's own prompt instead of a rephrase,
# compares the locality answer alone, and selects the last checkpoint without ever stopping early.
MendMode = Literal["live_rate", "original", "easyedit"]

LAST_BLOCKS = 3  # edited where no layers are named: the paper's choice
_EPS = 1e-7  # beside the standard deviations (released code)


@dataclass(frozen=True, kw_only=True)
class MendHparams(HypernetworkHparams):
    """Defaults are the released configurations'.

    There an iteration is one example and every tenth steps the optimiser; here it is a step.
    """

    layers: tuple[int, ...] | None = None
    mode: MendMode = "live_rate"
    edit_rate: float = 1e-4
    edit_rate_learning_rate: float = 1e-4
    learning_rate: float = 1e-6
    weight_edit: float = 0.1
    weight_locality: float = 1.0
    max_grad_norm: float = 100.0
    batch_size: int = 10
    micro_batch: int = 1
    iterations: int = 100_000
    checkpoint_interval: int = 500
    patience: int | None = 2_000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("mode", self.mode, MendMode)
        check_above("edit_rate_learning_rate", self.edit_rate_learning_rate, 0)
        if self.mode == "easyedit" and self.patience is not None:
            raise ValueError(
                "The mode 'easyedit' never stops early: patience must be None, "
                f"got {self.patience}."
            )


# zjunlp/EasyEdit hparams/TRAINING/MEND: 100,000 examples, held-out scores every 1,000.
EASY_EDIT: dict[str, Any] = {
    "mode": "easyedit", "iterations": 10_000, "checkpoint_interval": 100, "patience": None,
}  # fmt: skip

# Ours, set by hand for miniature models: narrow networks, rates that suit small weights, as much
# weight on the edit as on locality.
MINIATURE = MendHparams(
    rank=64,
    edit_rate=1e-3,
    edit_rate_learning_rate=1e-4,
    learning_rate=3e-4,
    weight_edit=1.0,
    batch_size=32,
    micro_batch=32,
    iterations=1_200,
    checkpoint_interval=100,
    patience=400,
)

# Ours, for those that are not shipped: `run` trains them in minutes.
FIRST_USE = replace(MINIATURE, iterations=500)

# Ours, for tests: seconds on any model.
TINY = replace(
    MINIATURE,
    rank=8,
    edit_rate_learning_rate=1e-3,
    learning_rate=3e-3,
    batch_size=4,
    micro_batch=4,
    iterations=30,
    checkpoint_interval=15,
    patience=None,
    held_out=4,
)


def pseudo_gradient_shift(
    network: Hypernetwork, number: int, factors: Factors, systems: int
) -> tuple[LowRankShift, Tensor, Tensor]:
    """The change of projection `number`, and the pseudo-factors [N, d_in], [N, d_out] in it.

    Rows of the factors belong to the systems in order, as many to each. Positions without
    influence are left out. In training mode the running statistics first take in the rows.
    """
    projection = network.projections[number]
    editor = network.network_of(projection)
    matter = factors.matter.nonzero(as_tuple=True)
    inputs, gradients = factors.inputs[matter], factors.gradients[matter]
    if network.training:
        editor.observe(inputs, gradients)
    pseudo_inputs, pseudo_gradients = editor(inputs, gradients, projection.index)
    left = torch.zeros_like(factors.inputs)
    right = torch.zeros_like(factors.gradients)
    left[matter] = pseudo_inputs
    right[matter] = network.edit_rates[number] * pseudo_gradients
    shift = LowRankShift(
        left.reshape(systems, -1, projection.d_in), right.reshape(systems, -1, projection.d_out)
    )
    return shift, pseudo_inputs, pseudo_gradients


def pseudo_gradient_shifts(
    lm: LanguageModel, network: Hypernetwork, edits: Sequence[Pair], systems: int
) -> dict[str, LowRankShift]:
    """Changes of all projections for the edits of each system, one loss over a system's tokens.

    The gradient reaches the network through the pseudo-factors; the factors are constants.
    """
    batch = lm.batch_of_pairs(edits)
    factors = gradient_factors(lm, network.projections, batch, group_means(batch, systems))
    shifts = {}
    for number, path in enumerate(projection.path for projection in network.projections):
        shifts[path], _, _ = pseudo_gradient_shift(network, number, factors[path], systems)
    return shifts


class MendObjective(Objective[MendHparams]):
    """Training by the edited model's answers to a rephrase and to an unrelated question."""

    network: Hypernetwork

    @property
    def systems_at_once(self) -> int:
        """Examples in one forward."""
        return self.hparams.micro_batch

    def shifts(self, batch: MetaBatch) -> dict[str, LowRankShift]:
        return pseudo_gradient_shifts(self.lm, self.network, batch.edits, batch.systems)

    def losses(self, batch: MetaBatch, shifts: Shifts) -> tuple[Tensor, Tensor]:
        """(edit loss, locality loss), summed over systems."""
        easyedit = self.hparams.mode == "easyedit"
        rows = batch.edits if easyedit else batch.rephrases
        positions: Positions = "answer" if easyedit else "all"
        return (
            answer_nll(self.lm, rows, shifts, batch.systems),
            locality_kl(self.lm, batch.unrelated, shifts, batch.systems, positions),
        )

    @torch.enable_grad()
    def backward(self, batch: MetaBatch) -> tuple[float, float]:
        """See the base class; the gradient reaches the network through the pseudo-factors."""
        edit = locality = 0.0
        for part in batch.chunks(self.systems_at_once):
            terms = self.losses(part, self.shifts(part))
            (self.hparams.total(*terms) / batch.systems).backward()
            for_edit, for_locality = torch.stack(terms).tolist()
            edit += for_edit / batch.systems
            locality += for_locality / batch.systems
        return edit, locality


class MendEditor(HypernetworkEditor[MendHparams]):
    """Adds a trained network's pseudo-gradient to all MLP projections of the last blocks.

    Over a stream the changes add up: each edit's gradients are those of the model as edited so
    far, while the network and its statistics stay as trained. The requests of one call are one
    loss over one batch, as in the original.
    """

    family = "MP"
    label = "MEND"
    table_row = 2
    mark = ("#D55E00", "s")
    edits_batches = True
    key = "mend"
    last_blocks = LAST_BLOCKS
    edits_inputs = True
    hparams_class = MendHparams
    as_in_paper: ClassVar[Mapping[str, Mapping[str, Any]]] = {"": EASY_EDIT}
    presets: ClassVar[Mapping[str, MendHparams]] = {
        # eric-mitchell/mend config/model/{gpt2xl,gptj}.yaml; zjunlp/EasyEdit
        # hparams/TRAINING/MEND/llama-7b.yaml
        "gpt2-xl": MendHparams(layers=(45, 46, 47)),
        "gpt-j-6b": MendHparams(layers=(25, 26, 27)),
        "llama-2-7b": MendHparams(layers=(29, 30, 31)),
        "mini-llama": MINIATURE,
        **dict.fromkeys(("mini-gptj", "mini-gpt2"), FIRST_USE),
        "smollm2-135m": MendHparams(layers=(27, 28, 29)),
        "default": MendHparams(),
        "original": MendHparams(mode="original"),
        "easyedit": replace(MendHparams(), **EASY_EDIT),
        "tiny": TINY,
    }

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Add the change for all requests together."""
        if not requests:
            return
        rows = request_rows(requests, self.lm.tokenizer)
        shifts = pseudo_gradient_shifts(self.lm, self.network, rows, systems=1)
        matrices = {path: shift.matrices()[0] for path, shift in shifts.items()}
        self._weights.add(deltas_of(self.lm, self.network.projections, matrices))

    @classmethod
    def new_network(cls, projections: Sequence[Projection], hparams: MendHparams) -> Hypernetwork:
        """Networks that leave factors as they are, but for their normalisation."""
        return Hypernetwork(projections, hparams, modulation="before_clamp", eps=_EPS)

    @classmethod
    def objective(cls, lm: LanguageModel, network: Any, hparams: MendHparams) -> MendObjective:
        return MendObjective(lm, network, hparams)

    @classmethod
    def optimiser(cls, network: Hypernetwork, hparams: MendHparams) -> torch.optim.Adam:
        """Adam; the edit rates have a rate of their own in the mode `live_rate` alone."""
        live = hparams.mode == "live_rate"
        rate = hparams.edit_rate_learning_rate if live else hparams.learning_rate
        return torch.optim.Adam(
            [
                {"params": network.networks.parameters(), "lr": hparams.learning_rate},
                {"params": [network.edit_rates], "lr": rate},
            ]
        )

    @classmethod
    def selection(cls, hparams: MendHparams) -> Selection:
        """The last checkpoint in EasyEdit's mode."""
        return "last" if hparams.mode == "easyedit" else "held_out"
