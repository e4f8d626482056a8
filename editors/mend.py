"""MEND: weight changes from transformed gradients ("Fast Model Editing at Scale", ICLR 2022).

The gradient of an edit's loss with respect to a weight is a sum of outer products of the weight's
inputs and of the gradients at its outputs. A trained network maps each pair of factors to
pseudo-factors, whose outer products, times a learned rate, are added to the weight.

Written after the paper and the public implementation eric-mitchell/mend at e04fdb9c; the mode
`easyedit` after zjunlp/EasyEdit at 14cea824.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from editors.base import EditRequest, EditSample, Resources, TrainableEditor
from editors.parts.artefact import required_artefact
from editors.parts.checks import check_above, check_choice
from editors.parts.deltas import WeightEditor
from editors.parts.hypernetwork.examples import MetaBatch, request_rows
from editors.parts.hypernetwork.fit import (
    fit_hypernetwork,
    load_hypernetwork,
    untrained_hypernetwork,
)
from editors.parts.hypernetwork.hparams import HypernetworkHparams, hypernetwork_needs
from editors.parts.hypernetwork.network import Hypernetwork
from editors.parts.hypernetwork.outer import Positions, Shifts, answer_nll, locality_kl
from editors.parts.hypernetwork.projections import (
    Projection,
    deltas_of,
    last_blocks,
    projections_of,
    shaped_projections,
)
from editors.parts.hypernetwork.pseudo_gradients import pseudo_gradient_shifts
from editors.parts.hypernetwork.shifts import LowRankShift
from editors.parts.language_model import LanguageModel
from editors.parts.needs import Needs, Setting, parameters_of

# `live_rate` trains the edit rates with `edit_rate_learning_rate`. In `original` they move with the
# networks' own rate, because the released code clears their gradients before it steps their
# optimiser. `easyedit` does that too; it scores the edit's own prompt instead of a rephrase,
# compares the locality answer alone, and keeps the last checkpoint without ever stopping early.
MendMode = Literal["live_rate", "original", "easyedit"]

LAST_BLOCKS = 3  # edited where no layers are named: the paper's choice (appendix C)
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


def mend_projections(lm: LanguageModel, hparams: MendHparams) -> tuple[Projection, ...]:
    """All MLP projections of the edited blocks, block by block."""
    return projections_of(lm, hparams.layers or last_blocks(lm, LAST_BLOCKS), inputs=True)


def mend_network(projections: Sequence[Projection], hparams: MendHparams) -> Hypernetwork:
    """Networks that leave factors as they are, but for their normalisation."""
    return Hypernetwork(
        projections,
        rank=hparams.rank,
        n_blocks=hparams.n_blocks,
        edit_rate=hparams.edit_rate,
        modulation="before_clamp",
        eps=_EPS,
    )


def mend_optimiser(network: Hypernetwork, hparams: MendHparams) -> torch.optim.Adam:
    """Adam; the edit rates have a learning rate of their own in the mode `live_rate` alone."""
    live = hparams.mode == "live_rate"
    rate = hparams.edit_rate_learning_rate if live else hparams.learning_rate
    return torch.optim.Adam(
        [
            {"params": network.networks.parameters(), "lr": hparams.learning_rate},
            {"params": [network.edit_rates], "lr": rate},
        ]
    )


class MendObjective:
    """Training by what the edited model answers to a rephrase and to an unrelated question."""

    n_edits = 1

    def __init__(self, lm: LanguageModel, network: Hypernetwork, hparams: MendHparams) -> None:
        self.lm = lm
        self.network = network
        self.hparams = hparams

    @property
    def systems_at_once(self) -> int:
        """Examples in one forward."""
        return self.hparams.micro_batch

    def shifts(self, batch: MetaBatch) -> dict[str, LowRankShift]:
        """Changes of the weights for the edits of each system."""
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
    def backward(self, batch: MetaBatch) -> dict[str, float]:
        """Add the gradient of the mean loss over systems; returns `loss` and its terms."""
        edit = locality = 0.0
        for part in batch.chunks(self.systems_at_once):
            terms = self.losses(part, self.shifts(part))
            (self.hparams.total(*terms) / batch.systems).backward()
            for_edit, for_locality = torch.stack(terms).tolist()
            edit += for_edit / batch.systems
            locality += for_locality / batch.systems
        return {"loss": self.hparams.total(edit, locality), "edit": edit, "drift": locality}


class MendEditor(WeightEditor[MendHparams], TrainableEditor[MendHparams]):
    """Adds a trained network's pseudo-gradient to the last blocks' MLPs.

    Over a stream the changes add up: each edit's gradients are those of the model as edited so
    far, while the network and its statistics stay as trained. The requests of one call are one
    loss over one batch, as in the original.
    """

    family = "MP"
    label: ClassVar[str] = "MEND"
    table_row = 2
    mark = ("#D55E00", "s")
    quick: ClassVar[bool] = True
    hparams_class = MendHparams
    presets: ClassVar[Mapping[str, MendHparams]] = {
        # eric-mitchell/mend config/model/{gpt2xl,gptj}.yaml; zjunlp/EasyEdit
        # hparams/TRAINING/MEND/llama-7b.yaml
        "gpt2-xl": MendHparams(layers=(45, 46, 47)),
        "gpt-j-6b": MendHparams(layers=(25, 26, 27)),
        "llama-2-7b": MendHparams(layers=(29, 30, 31)),
        "mini-llama": MINIATURE,
        **dict.fromkeys(("mini-gptj", "mini-gpt2"), FIRST_USE),
        "default": MendHparams(),
        "original": MendHparams(mode="original"),
        # its TRAINING/MEND configurations: 100,000 examples, held-out scores every 1,000
        "easyedit": MendHparams(
            mode="easyedit", iterations=10_000, checkpoint_interval=100, patience=None
        ),
        "tiny": TINY,
    }

    @classmethod
    def needs(cls, hparams: MendHparams, on: Setting) -> Needs:
        """Editor networks; every projection of the last blocks is edited."""
        projections = shaped_projections(on.shape, hparams.layers or LAST_BLOCKS, inputs=True)
        trained = parameters_of(lambda: mend_network(projections, hparams))
        return hypernetwork_needs(hparams, on, len(projections), trained, LAST_BLOCKS)

    def __init__(self, lm: LanguageModel, hparams: MendHparams, resources: Resources) -> None:
        """Load the trained network that `resources` names.

        Raises:
            ValueError: artefact not given, or trained for something else.
            FileNotFoundError: it is not there.
        """
        super().__init__(lm, hparams, resources)
        path = required_artefact(resources, key="mend", label=self.label)
        projections = mend_projections(lm, hparams)
        self.network = load_hypernetwork(
            path, "mend", lambda: mend_network(projections, hparams), lm, hparams, projections
        )

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Add the change for all requests together."""
        if not requests:
            return
        rows = request_rows(requests, self.lm.tokenizer)
        shifts = pseudo_gradient_shifts(self.lm, self.network, rows, systems=1)
        matrices = {path: shift.matrices()[0] for path, shift in shifts.items()}
        self._weights.add(deltas_of(self.lm, self.network.projections, matrices))

    @classmethod
    def fit(
        cls,
        lm: LanguageModel,
        samples: Mapping[str, Sequence[EditSample]],
        hparams: MendHparams,
        resources: Resources,
        *,
        out: Path,
        progress: Callable[[Mapping[str, float]], None] | None = None,
    ) -> Path:
        """Train the networks and the edit rates; see `editors.parts.hypernetwork.fit`."""
        projections = mend_projections(lm, hparams)

        def make() -> tuple[MendObjective, torch.optim.Optimizer]:
            network = mend_network(projections, hparams).to(lm.device)
            return MendObjective(lm, network, hparams), mend_optimiser(network, hparams)

        return fit_hypernetwork(
            "mend",
            lm,
            samples,
            hparams,
            projections,
            make,
            selection="last" if hparams.mode == "easyedit" else "held_out",
            seed=resources.seed,
            out=out,
            progress=progress,
        )

    @classmethod
    def untrained(
        cls, lm: LanguageModel, hparams: MendHparams, resources: Resources, *, out: Path
    ) -> Path:
        """The networks that training starts from; see `editors.parts.hypernetwork.fit`."""
        projections = mend_projections(lm, hparams)

        def make() -> Hypernetwork:
            return mend_network(projections, hparams)

        return untrained_hypernetwork(
            "mend", lm, hparams, projections, make, seed=resources.seed, out=out
        )
