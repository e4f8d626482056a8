"""MALMEN: many edits at once by a hypernetwork (ICLR 2024).

A trained network turns the key and the value gradient of every answer token into a wanted change
of the value; a regularised least-squares problem joins all of them into one shift of each weight.

Paper: "Massive Editing for Large Language Models via Meta Learning". Public implementation:
ChenmienTan/malmen at 1df295dc.
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
from editors.parts.checks import check_at_least, check_choice
from editors.parts.deltas import WeightEditor
from editors.parts.hypernetwork.aggregation import (
    Cache,
    NormalNetwork,
    backward_into_network,
    cached,
    normal_shifts,
)
from editors.parts.hypernetwork.examples import MetaBatch, request_rows
from editors.parts.hypernetwork.fit import (
    fit_hypernetwork,
    load_hypernetwork,
    untrained_hypernetwork,
)
from editors.parts.hypernetwork.hparams import HypernetworkHparams, hypernetwork_needs
from editors.parts.hypernetwork.network import Hypernetwork
from editors.parts.hypernetwork.outer import Shifts, answer_nll, locality_kl
from editors.parts.hypernetwork.projections import (
    Projection,
    deltas_of,
    last_blocks,
    projections_of,
    shaped_projections,
)
from editors.parts.hypernetwork.shifts import DenseShift
from editors.parts.language_model import LanguageModel
from editors.parts.needs import Needs, Setting, parameters_of

# `original` has the defects of the released code's running statistics: too much spread for each
# batch of rows, and no statistics at all after a batch of one row. In both modes statistics are
# those of training; the released code goes on changing them at held-out and deployed edits.
MalmenMode = Literal["exact", "original"]

LAST_BLOCKS = 6  # edited where no layers are named: the released code's choice for GPT-J
_EPS = torch.finfo(torch.float32).eps  # beside the standard deviations (released code)


@dataclass(frozen=True, kw_only=True)
class MalmenHparams(HypernetworkHparams):
    """Defaults are the released configurations', but for the edits made together.

    The original trains on and deploys 512 to 1,024 edits at a time. A lifelong stream brings one
    edit at a time, so training does too (as zjunlp/EasyEdit's configuration, whose iterations,
    interval and patience these are); the setting is recorded with every number.
    """

    layers: tuple[int, ...] | None = None
    mode: MalmenMode = "exact"
    n_edits: int = 1  # made together in training; deployed is what each call brings
    edit_rate: float = 1e-6
    learning_rate: float = 1e-5
    weight_edit: float = 1.0
    weight_locality: float = 1.0
    max_grad_norm: float = 1.0
    batch_size: int = 1
    micro_batch: int = 32
    iterations: int = 10_000
    checkpoint_interval: int = 100
    patience: int | None = 1_000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("mode", self.mode, MalmenMode)
        check_at_least("n_edits", self.n_edits, 1)


# Ours, set by hand for miniature models: narrow networks, rates that suit small weights, and the
# mean gradient of several single edits in each step.
MINIATURE = MalmenHparams(
    rank=64,
    edit_rate=1e-2,
    learning_rate=3e-4,
    batch_size=32,
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
    edit_rate=0.1,
    learning_rate=3e-3,
    batch_size=4,
    iterations=30,
    checkpoint_interval=15,
    patience=None,
    held_out=4,
)


def malmen_projections(lm: LanguageModel, hparams: MalmenHparams) -> tuple[Projection, ...]:
    """The MLP output projections of the edited blocks."""
    return projections_of(lm, hparams.layers or last_blocks(lm, LAST_BLOCKS), inputs=False)


def malmen_network(projections: Sequence[Projection], hparams: MalmenHparams) -> NormalNetwork:
    """Networks that leave factors as they are, but for their normalisation; every lambda is 1."""
    editors = Hypernetwork(
        projections,
        rank=hparams.rank,
        n_blocks=hparams.n_blocks,
        edit_rate=hparams.edit_rate,
        modulation="after_clamp",
        eps=_EPS,
        inflated=hparams.mode == "original",
    )
    return NormalNetwork(editors)


class MalmenObjective:
    """Two-phase training by what the edited model answers to rephrases and unrelated questions."""

    def __init__(self, lm: LanguageModel, network: NormalNetwork, hparams: MalmenHparams) -> None:
        self.lm = lm
        self.network = network
        self.hparams = hparams

    @property
    def n_edits(self) -> int:
        """Edits that are made together."""
        return self.hparams.n_edits

    @property
    def systems_at_once(self) -> int:
        """Groups of edits in one forward."""
        return self.hparams.batch_size

    def cached(self, batch: MetaBatch) -> dict[str, Cache]:
        """Keys and gradients of the edits of each system."""
        parts = [part.edits for part in batch.micro_batches(self.hparams.micro_batch)]
        return cached(self.lm, self.network, parts, batch.systems)

    def shifts(self, batch: MetaBatch) -> dict[str, DenseShift]:
        """Changes of the weights for the edits of each system."""
        return normal_shifts(self.network, self.cached(batch))

    def losses(self, batch: MetaBatch, shifts: Shifts) -> tuple[Tensor, Tensor]:
        """(edit loss, locality loss), summed over systems; means over the answers of each."""
        return (
            answer_nll(self.lm, batch.rephrases, shifts, batch.systems),
            locality_kl(self.lm, batch.unrelated, shifts, batch.systems, "answer"),
        )

    def backward(self, batch: MetaBatch) -> dict[str, float]:
        """Add the gradient of the mean loss over systems; returns `loss` and its terms.

        The loss of a system is a sum over its micro-batches (released code).
        """
        caches = self.cached(batch)
        upstream, terms = self.weight_gradients(batch, normal_shifts(self.network, caches))
        backward_into_network(self.network, caches, upstream)
        edit = sum(term[0] for term in terms) / batch.systems
        locality = sum(term[1] for term in terms) / batch.systems
        return {"loss": self.hparams.total(edit, locality), "edit": edit, "drift": locality}

    @torch.enable_grad()
    def weight_gradients(
        self, batch: MetaBatch, shifts: Mapping[str, DenseShift]
    ) -> tuple[dict[str, Tensor], list[tuple[float, float]]]:
        """Phase one: gradients [b, d_in, d_out] of the mean loss over systems, by path.

        Returns them with the two loss terms of each micro-batch, summed over systems.
        """
        leaves = {path: s.values.detach().requires_grad_(True) for path, s in shifts.items()}
        terms = []
        for part in batch.micro_batches(self.hparams.micro_batch):
            edit, locality = self.losses(part, {p: DenseShift(v) for p, v in leaves.items()})
            (self.hparams.total(edit, locality) / batch.systems).backward()
            terms.append(torch.stack([edit.detach(), locality.detach()]))
        gradients = {path: leaf.grad for path, leaf in leaves.items() if leaf.grad is not None}
        return gradients, [(edit, locality) for edit, locality in torch.stack(terms).tolist()]


class MalmenEditor(WeightEditor[MalmenHparams], TrainableEditor[MalmenHparams]):
    """Adds a hypernetwork's least-squares shift to the last blocks' MLP output projections.

    Over a stream the shifts add up: keys and gradients are those of the model as edited so far,
    while the network and its statistics stay as trained. The requests of one call are one problem.
    """

    family = "MP"
    label: ClassVar[str] = "MALMEN"
    table_row = 5
    mark = ("#CC79A7", "D")
    quick: ClassVar[bool] = True
    hparams_class = MalmenHparams
    presets: ClassVar[Mapping[str, MalmenHparams]] = {
        # ChenmienTan/malmen config/model/gpt-j.yaml; zjunlp/EasyEdit
        # hparams/TRAINING/MALMEN/gpt2-xl.yaml. No configuration for LLaMA-2 was published: the
        # last six output projections, as of the others.
        "gpt2-xl": MalmenHparams(layers=(42, 43, 44, 45, 46, 47)),
        "gpt-j-6b": MalmenHparams(layers=(22, 23, 24, 25, 26, 27)),
        "llama-2-7b": MalmenHparams(layers=(26, 27, 28, 29, 30, 31)),
        "mini-llama": MINIATURE,
        **dict.fromkeys(("mini-gptj", "mini-gpt2"), FIRST_USE),
        "default": MalmenHparams(),
        "original": MalmenHparams(mode="original"),
        "tiny": TINY,
    }

    @classmethod
    def needs(cls, hparams: MalmenHparams, on: Setting) -> Needs:
        """As MEND's for output projections; dense shifts and their gradients are stored too."""
        projections = shaped_projections(on.shape, hparams.layers or LAST_BLOCKS, inputs=False)
        trained = parameters_of(lambda: malmen_network(projections, hparams))
        memory = hypernetwork_needs(hparams, on, len(projections), trained, LAST_BLOCKS)
        dense = hparams.batch_size * on.shape.matrix * (8.0 * len(projections) + 16.0)
        return replace(memory, training=(memory.training or 0.0) + dense)

    def __init__(self, lm: LanguageModel, hparams: MalmenHparams, resources: Resources) -> None:
        """Load the trained network that `resources` names.

        Raises:
            ValueError: artefact not given, or trained for something else.
            FileNotFoundError: it is not there.
        """
        super().__init__(lm, hparams, resources)
        path = required_artefact(resources, key="malmen", label=self.label)
        projections = malmen_projections(lm, hparams)
        self.network = load_hypernetwork(
            path, "malmen", lambda: malmen_network(projections, hparams), lm, hparams, projections
        )

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Add the shift for all requests together."""
        if not requests:
            return
        rows = request_rows(requests, self.lm.tokenizer)
        size = self.hparams.micro_batch
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        shifts = normal_shifts(self.network, cached(self.lm, self.network, parts, systems=1))
        matrices = {path: shift.values[0] for path, shift in shifts.items()}
        self._weights.add(deltas_of(self.lm, self.network.projections, matrices))

    @classmethod
    def fit(
        cls,
        lm: LanguageModel,
        samples: Mapping[str, Sequence[EditSample]],
        hparams: MalmenHparams,
        resources: Resources,
        *,
        out: Path,
        progress: Callable[[Mapping[str, float]], None] | None = None,
    ) -> Path:
        """Train the networks, rates and regularisers; see `editors.parts.hypernetwork.fit`."""
        projections = malmen_projections(lm, hparams)

        def make() -> tuple[MalmenObjective, torch.optim.Optimizer]:
            network = malmen_network(projections, hparams).to(lm.device)
            optimiser = torch.optim.Adam(network.parameters(), lr=hparams.learning_rate)
            return MalmenObjective(lm, network, hparams), optimiser

        return fit_hypernetwork(
            "malmen",
            lm,
            samples,
            hparams,
            projections,
            make,
            selection="held_out",
            seed=resources.seed,
            out=out,
            progress=progress,
        )

    @classmethod
    def untrained(
        cls, lm: LanguageModel, hparams: MalmenHparams, resources: Resources, *, out: Path
    ) -> Path:
        """The networks that training starts from; see `editors.parts.hypernetwork.fit`."""
        projections = malmen_projections(lm, hparams)

        def make() -> NormalNetwork:
            return malmen_network(projections, hparams)

        return untrained_hypernetwork(
            "malmen", lm, hparams, projections, make, seed=resources.seed, out=out
        )
