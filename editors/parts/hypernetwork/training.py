"""How MEND and MALMEN are trained: edits with one rephrase and one unrelated question each.

Several systems (independent edits, or groups of edits applied as one change) share the
forwards of a batch: its rows belong to the systems in order, the same number of rows to each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from editors.base import Resources
from editors.parts.deltas import WeightEditor
from editors.parts.hypernetwork.networks import (
    HypernetworkHparams,
    Projection,
    RunningStatistics,
    Shift,
    group_means,
    projections_of,
    shaped_projections,
    shifted,
)
from editors.parts.language_model import LanguageModel
from editors.parts.needs import (
    FORWARD,
    THROUGH,
    TRAIN_TOKENS,
    TRAINED,
    WITH_ADAM,
    Needs,
    Setting,
    parameters_of,
)
from editors.parts.tokens import Pair, TokenBatch, occurrences
from editors.parts.training.examples import Drawn, Example, ProbeSampler, examples_of, split_pools
from editors.parts.training.loop import LoopSettings, Selection
from editors.parts.training.task import HELD_OUT_SEED, Samples, TrainedEditor, Training

_ASPECTS = ("reliability", "generality", "locality")

Shifts = Mapping[str, Shift]
# Where the locality loss compares: at all positions of the text, or where its answer is predicted.
Positions = Literal["all", "answer"]
HyperT = TypeVar("HyperT", bound=HypernetworkHparams)


# ---- batches ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class MetaBatch:
    """Edits with drawn probes; they form `systems` systems of as many edits each, in order."""

    edits: Sequence[Pair]
    rephrases: Sequence[Pair]
    unrelated: Sequence[Pair]
    systems: int  # divides the number of edits

    @classmethod
    def of(cls, drawn: Sequence[Drawn], systems: int) -> MetaBatch:
        """Examples with drawn probes, as many to each system."""
        return cls(
            edits=[each.example.reliability.pair for each in drawn],
            rephrases=[each.generality.pair for each in drawn],
            unrelated=[each.locality.pair for each in drawn],
            systems=systems,
        )

    @property
    def n_edits(self) -> int:
        """Edits in one system."""
        return len(self.edits) // self.systems

    def chunks(self, systems: int) -> Iterator[MetaBatch]:
        """The same systems, at most `systems` at a time."""
        for start in range(0, self.systems, systems):
            part = range(start, min(start + systems, self.systems))
            yield self._of([s * self.n_edits + e for s in part for e in range(self.n_edits)], part)

    def micro_batches(self, edits: int) -> Iterator[MetaBatch]:
        """All systems, at most `edits` edits of each at a time."""
        every = range(self.systems)
        for start in range(0, self.n_edits, edits):
            part = range(start, min(start + edits, self.n_edits))
            yield self._of([s * self.n_edits + e for s in every for e in part], every)

    def _of(self, numbers: Sequence[int], systems: range) -> MetaBatch:
        return MetaBatch(
            [self.edits[i] for i in numbers],
            [self.rephrases[i] for i in numbers],
            [self.unrelated[i] for i in numbers],
            len(systems),
        )


# ---- losses and scores under shifted weights -------------------------------------------------


def answer_nll(lm: LanguageModel, rows: Sequence[Pair], shifts: Shifts, systems: int) -> Tensor:
    """Sum over systems of the mean negative log-likelihood of the system's target tokens."""
    batch = lm.batch_of_pairs(rows)
    with shifted(lm, shifts):
        logits = lm.target_logits(batch).float()  # [N, V]
    losses = functional.cross_entropy(logits, batch.labels, reduction="none")
    return (losses * group_means(batch, systems)).sum()


def locality_kl(
    lm: LanguageModel, rows: Sequence[Pair], shifts: Shifts, systems: int, positions: Positions
) -> Tensor:
    """Sum over systems of the mean KL(unedited || edited) at the system's positions."""
    batch = lm.batch_of_pairs(rows)
    with torch.no_grad():
        before = _log_probabilities(lm, batch, positions)  # [N, V]
    with shifted(lm, shifts):
        after = _log_probabilities(lm, batch, positions)
    divergences = functional.kl_div(after, before, reduction="none", log_target=True).sum(-1)
    if positions == "answer":
        return (divergences * group_means(batch, systems)).sum()
    owner = batch.attention_mask.nonzero()[:, 0] // (len(batch) // systems)
    counts = occurrences(owner, systems)
    return (divergences / counts[owner]).sum()


def _log_probabilities(lm: LanguageModel, batch: TokenBatch, positions: Positions) -> Tensor:
    if positions == "answer":
        return lm.target_logits(batch).float().log_softmax(-1)
    hidden = lm.hidden_states(batch)[batch.attention_mask.bool()]
    return lm.head(hidden).float().log_softmax(-1)


@torch.no_grad()
def accuracies(lm: LanguageModel, batch: MetaBatch, shifts: Shifts) -> dict[str, list[float]]:
    """Teacher-forced token accuracies of every row: reliability, generality, locality.

    Locality compares with the unedited model's argmax.
    """
    unrelated = lm.batch_of_pairs(batch.unrelated)
    edits, rephrases = lm.batch_of_pairs(batch.edits), lm.batch_of_pairs(batch.rephrases)
    plain = lm.target_logits(unrelated).argmax(-1)
    with shifted(lm, shifts):
        return {
            "reliability": _shares(lm, edits, edits.labels),
            "generality": _shares(lm, rephrases, rephrases.labels),
            "locality": _shares(lm, unrelated, plain),
        }


def _shares(lm: LanguageModel, batch: TokenBatch, wanted: Tensor) -> list[float]:
    right = (lm.target_logits(batch).argmax(-1) == wanted).float()  # [N], in row order
    parts = right.split(batch.target_counts.tolist())
    return [fmean(part.tolist()) for part in parts if len(part)]


# ---- training --------------------------------------------------------------------------------


class Objective(ABC, Generic[HyperT]):
    """An editor's own part of training."""

    def __init__(self, lm: LanguageModel, network: Any, hparams: HyperT) -> None:
        self.lm = lm
        self.network = network
        self.hparams = hparams

    @property
    def n_edits(self) -> int:
        """Edits of one system, which become one change of the weights."""
        return 1

    def selecting(self, scores: Mapping[str, float]) -> float:
        """The number, of a data set's held-out scores, that a checkpoint is selected by."""
        return scores["loss"]

    @property
    @abstractmethod
    def systems_at_once(self) -> int:
        """Systems in one forward."""

    @abstractmethod
    def shifts(self, batch: MetaBatch) -> Shifts:
        """Changes of the weights for the edits of each system."""

    @abstractmethod
    def losses(self, batch: MetaBatch, shifts: Shifts) -> tuple[Tensor, Tensor]:
        """(edit loss, locality loss), summed over systems, without their weights."""

    @abstractmethod
    def backward(self, batch: MetaBatch) -> tuple[float, float]:
        """Add the gradient of the mean loss over systems; the mean of both terms."""


class HypernetworkTask:
    """A `Learner` of the training loop: Adam on a hypernetwork whose gradients its objective adds.

    A step whose gradient is not finite is counted as `skipped` and changes nothing but the running
    statistics (the originals leave out the example instead).
    """

    def __init__(
        self,
        objective: Objective[Any],
        optimiser: torch.optim.Optimizer,
        training: Mapping[str, Sequence[Example]],
        held_out: Mapping[str, Sequence[Example]],
        seed: int,
    ) -> None:
        self.objective = objective
        self.network: nn.Module = objective.network
        self.optimiser = optimiser
        self._held_out = held_out
        self._sampler = ProbeSampler(training, seed)

    def step(self, iteration: int) -> dict[str, float]:
        objective, hparams = self.objective, self.objective.hparams
        self.network.train()
        self.optimiser.zero_grad()
        drawn = self._sampler.draw_probes(hparams.batch_size * objective.n_edits)
        edit, locality = objective.backward(MetaBatch.of(drawn, hparams.batch_size))
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), hparams.max_grad_norm)
        finite = bool(norm.isfinite())
        if finite:
            self.optimiser.step()
        terms = {"loss": hparams.total(edit, locality), "edit": edit, "drift": locality}
        return {**terms, "gradient_norm": norm.item(), "skipped": float(not finite)}

    def evaluate(self) -> dict[str, float]:
        scores = self.validation()
        loss = fmean(map(self.objective.selecting, scores.values()))
        return {"held_out_loss": loss} | {
            f"{name}.{key}": values[key] for name, values in scores.items() for key in _ASPECTS
        }

    def validation(self) -> dict[str, dict[str, float]]:
        """Scores of each data set's held-out examples, each system edited alone."""
        self.network.eval()
        return {name: self._scores(pool) for name, pool in self._held_out.items()}

    def draws(self) -> dict[str, Tensor]:
        return self._sampler.state_dict()

    def set_draws(self, state: Mapping[str, Tensor]) -> None:
        self._sampler.load_state_dict(state)

    @torch.no_grad()
    def _scores(self, pool: Sequence[Example]) -> dict[str, float]:
        """Loss and mean token accuracies after editing each system of the pristine model."""
        objective, hparams = self.objective, self.objective.hparams
        parts: dict[str, list[float]] = {name: [] for name in _ASPECTS}
        losses: list[Tensor] = []
        systems = 0
        for batch in self._held_out_batches(pool):
            shifts = objective.shifts(batch)
            systems += batch.systems
            for part in batch.micro_batches(hparams.micro_batch):
                losses.append(hparams.total(*objective.losses(part, shifts)))
                for name, shares in accuracies(objective.lm, part, shifts).items():
                    parts[name] += shares
        return {
            "edits": len(pool),
            "together": objective.n_edits,
            "loss": float(torch.stack(losses).sum()) / systems,
            **{name: fmean(shares) for name, shares in parts.items()},
        }

    def _held_out_batches(self, examples: Sequence[Example]) -> Iterator[MetaBatch]:
        """Systems of `n_edits` examples, as many at once as fit; an incomplete last one is left."""
        n_edits = min(self.objective.n_edits, len(examples))
        systems = len(examples) // n_edits
        sampler = ProbeSampler({"held_out": examples}, HELD_OUT_SEED)
        whole = MetaBatch.of(sampler.probes(examples[: systems * n_edits]), systems)
        return whole.chunks(self.objective.systems_at_once)


class HypernetworkEditor(WeightEditor[HyperT], TrainedEditor[HyperT]):
    """An editor whose changes a trained network computes; subclasses name its parts."""

    key: ClassVar[str]  # of artefacts
    last_blocks: ClassVar[int]  # how many are edited where no layers are named
    edits_inputs: ClassVar[bool]  # whether the MLPs' input projections are edited too
    quick = True
    network: Any

    @classmethod
    def projections(cls, lm: LanguageModel, hparams: HyperT) -> tuple[Projection, ...]:
        last = range(max(lm.n_layers - cls.last_blocks, 0), lm.n_layers)
        layers = hparams.layers or tuple(last)
        return projections_of(lm, layers, inputs=cls.edits_inputs)

    @classmethod
    @abstractmethod
    def new_network(cls, projections: Sequence[Projection], hparams: HyperT) -> nn.Module:
        """The network that training starts from."""

    @classmethod
    @abstractmethod
    def objective(cls, lm: LanguageModel, network: Any, hparams: HyperT) -> Objective[HyperT]:
        """What the network is trained by."""

    @classmethod
    def optimiser(cls, network: Any, hparams: HyperT) -> torch.optim.Optimizer:
        """What changes the network."""
        return torch.optim.Adam(network.parameters(), lr=hparams.learning_rate)

    @classmethod
    def selection(cls, hparams: HyperT) -> Selection:  # noqa: ARG003 - those of subclasses
        """Which checkpoint is selected."""
        return "held_out"

    def __init__(self, lm: LanguageModel, hparams: HyperT, resources: Resources) -> None:
        """Load the trained network that `resources` names.

        Raises:
            ValueError: artefact not given, or trained for something else.
            FileNotFoundError: it is not there.
        """
        super().__init__(lm, hparams, resources)
        weights = self.trained_weights()
        with torch.random.fork_rng(devices=[]):  # initial weights are drawn, then replaced
            network = self.new_network(self.projections(lm, hparams), hparams)
        network.load_state_dict(weights)
        self.network = network.to(lm.device).eval().requires_grad_(False)

    @classmethod
    def needs(cls, hparams: HyperT, on: Setting) -> Needs:
        """Editor networks, and copies of the edited projections."""
        layers = hparams.layers or cls.last_blocks
        projections = shaped_projections(on.shape, layers, inputs=cls.edits_inputs)
        trained = parameters_of(lambda: cls.new_network(projections, hparams))
        first = min(hparams.layers or [max(on.shape.layers - cls.last_blocks, 0)])
        edited = len(projections) * on.shape.matrix
        training = on.backward(3 * hparams.micro_batch, first, tokens=TRAIN_TOKENS)
        # Three rows an edit with a gradient down to the first edited block, one without.
        share = on.above(first) / on.shape.layers
        model = on.shape.parameters * (3 * (FORWARD + THROUGH * share) + FORWARD)
        tokens = hparams.iterations * hparams.batch_size * TRAIN_TOKENS
        return Needs(
            held=4.0 * trained + on.copies(edited),
            working=4.0 * edited + on.backward(1, first),
            trained=trained,
            training=WITH_ADAM * trained + training,
            artefact=4.0 * trained,
            training_operations=tokens * (model + trained * (FORWARD + TRAINED)),
        )

    @classmethod
    def training(cls, lm: LanguageModel, hparams: HyperT, resources: Resources) -> Training:
        """The network; untrained it is what training starts from, and normalises nothing."""
        seed, projections = resources.seed, cls.projections(lm, hparams)

        def drawn() -> nn.Module:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                return cls.new_network(projections, hparams)

        def task(samples: Samples) -> HypernetworkTask:
            training, held_out = split_pools(
                samples, lambda rows: examples_of(rows, lm.tokenizer), hparams.held_out, seed
            )
            network = drawn().to(lm.device)
            objective = cls.objective(lm, network, hparams)
            optimiser = cls.optimiser(network, hparams)
            return HypernetworkTask(objective, optimiser, training, held_out, seed)

        def initial_weights() -> Mapping[str, Tensor]:
            network = drawn()
            for module in network.modules():
                if isinstance(module, RunningStatistics):
                    module.standardise()
            return network.state_dict()

        return Training(
            key=cls.key,
            hparams=hparams.to_dict(),
            model_hparams=("rank", "n_blocks"),
            facts={"projections": [projection.path for projection in projections]},
            learner=task,
            initial_weights=initial_weights,
            loop=LoopSettings(
                iterations=hparams.iterations,
                checkpoint_interval=hparams.checkpoint_interval,
                selection=cls.selection(hparams),
                patience=hparams.patience,
            ),
        )
