"""How RASE's heads are trained: three contrastive losses, then the artefact with calibrated gates.

Losses: the paper, and sev777/RASE, its training model. Settings are ours where it names none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from editors.base import Resources
from editors.parts.artefact import check_identity, read_header, required_encoder, write_artefact
from editors.parts.encoder import TextVectors, encoder_digest
from editors.parts.language_model import LanguageModel
from editors.parts.r_rome.retrieval import (
    Encoded,
    Example,
    FactRetriever,
    Gate,
    HeldOut,
    RaseHparams,
    RaseNetwork,
    Vectorise,
    calibrate,
    examples_of,
    rates,
    trained_values,
)
from editors.parts.training.examples import PoolSampler, index_at, split_pools
from editors.parts.training.loop import LoopSettings, Progress
from editors.parts.training.task import (
    GeneratorScope,
    Samples,
    TrainedEditor,
    Training,
    TrainingTask,
    cosine_decay,
)

RaseT = TypeVar("RaseT", bound=RaseHparams)

_OPEN = Gate(maximum=-2.0)  # below every cosine: each query fires
# Settings that the weights depend on in use, not in training alone.
_MODEL_FIELDS = ("heads", "width", "highway_layers", "pooling")


# ---- losses ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class RaseTerms:
    """The three losses as scalars."""

    sentences: Tensor
    facts: Tensor
    margin: Tensor

    def total(self) -> Tensor:
        """Their sum, as in the released code."""
        return self.sentences + self.facts + self.margin


def rase_terms(network: RaseNetwork, batch: Encoded, hparams: RaseHparams) -> RaseTerms:
    """The losses of one batch; in training mode, dropout makes two views of every text differ."""
    sentences = _views(network.sentences, batch.sentences)
    facts = _views(network.facts, batch.facts)
    scale = 1 / hparams.temperature
    return RaseTerms(
        sentences=group_loss(*sentences, batch.owners, scale),
        facts=_diagonal_loss(facts[0] @ facts[1].T * scale),
        margin=margin_loss(
            sentences[0] @ facts[0].T,
            batch.owners,
            (network.sentences(batch.unrelated) * facts[0][batch.unrelated_owners]).sum(dim=1),
            batch.unrelated_owners,
            margin=hparams.margin,
            scale=scale,
            unrelated_are_rivals=hparams.negatives == "facts_and_unrelated",
        ),
    )


def group_loss(first: Tensor, second: Tensor, owners: Tensor, scale: float) -> Tensor:
    """S2S: sentences of one fact are nearer to each other than to those of the other facts.

    Cosines of two views [n, w] are averaged over each pair of facts' sentences.
    """
    member = functional.one_hot(owners).to(first.dtype)  # [n, b]
    mean = member / member.sum(dim=0)
    return _diagonal_loss(mean.T @ first @ (mean.T @ second).T * scale)


def margin_loss(
    cosines: Tensor,
    owners: Tensor,
    unrelated: Tensor,
    unrelated_owners: Tensor,
    *,
    margin: float,
    scale: float,
    unrelated_are_rivals: bool = True,
) -> Tensor:
    """S2F: a sentence's own fact beats all else by a margin.

    Its rivals are the other facts, and (ours, because the gate must also turn queries away) the
    unrelated queries of its own fact.

    Args:
        cosines: of sentences and facts [n, b].
        owners: the fact [n] of each sentence.
        unrelated: cosines [u] of unrelated queries and their owners.
        unrelated_owners: the fact [u] that each of them is near.
        margin: taken off the own fact's cosine.
        scale: 1 / temperature.
        unrelated_are_rivals: otherwise the facts alone are, as in the original.
    """
    own = functional.one_hot(owners, cosines.shape[1]).to(cosines.dtype)
    elsewhere = owners[:, None] != unrelated_owners[None]  # [n, u]
    rivals = unrelated.expand(len(owners), -1).masked_fill(elsewhere, -torch.inf)
    ahead = cosines - margin * own
    logits = torch.cat([ahead, rivals], dim=1) if unrelated_are_rivals else ahead
    return functional.cross_entropy(logits * scale, owners)


def _views(head: Callable[[Tensor], Tensor], vectors: Tensor) -> tuple[Tensor, Tensor]:
    return head(vectors), head(vectors)


def _diagonal_loss(logits: Tensor) -> Tensor:
    """Cross-entropy of [b, b] logits whose diagonal is right."""
    return functional.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


# ---- the task --------------------------------------------------------------------------------


class KnownVectors:
    """Vectors of texts that are all encoded at once, because a frozen encoder gives no others."""

    def __init__(self, vectors: Vectorise, texts: Iterable[str]) -> None:
        distinct = sorted(set(texts), key=lambda text: (len(text), text))  # little padding
        self._rows = {text: row for row, text in enumerate(distinct)}
        self._vectors = vectors(distinct)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [B, H] of B of the texts."""
        return self._vectors[[self._rows[text] for text in texts]]


class RaseSampler(PoolSampler[Example]):
    """Draws batches without end.

    A fact's edited prompt is always among its sentences; the rest, and as many unrelated queries
    at most, are drawn without replacement.
    """

    def draw_batch(self, hparams: RaseHparams) -> list[Example]:
        """The next batch of `batch_size` facts."""
        others = hparams.sentences_per_fact - 1
        return [
            Example(
                example.fact,
                (example.sentences[0], *self._some(example.sentences[1:], others)),
                tuple(self._some(example.unrelated, max(others, 1))),
            )
            for example in self.draw(hparams.batch_size)
        ]

    def _some(self, texts: Sequence[str], count: int) -> list[str]:
        """At most `count` of the texts."""
        left = list(texts)
        chances = torch.rand(min(count, len(left)), generator=self.generator).tolist()
        return [left.pop(index_at(chance, len(left))) for chance in chances]


class RaseTask(TrainingTask[HeldOut]):
    """Trains the heads; the gates are calibrated at each checkpoint."""

    logged = ("reliability", "generality", "locality")
    network: RaseNetwork

    def __init__(
        self,
        vectors: Vectorise,
        network: RaseNetwork,
        samples: Samples,
        hparams: RaseHparams,
        seed: int,
    ) -> None:
        """Encode all texts.

        Raises:
            ValueError: too few usable samples.
        """
        training, held_out = split_pools(samples, examples_of, hparams.held_out, seed)
        texts = (t for pool in training.values() for example in pool for t in example.texts)
        self._vectors = KnownVectors(vectors, texts)
        self._hparams, self._batches = hparams, RaseSampler(training, seed)
        super().__init__(
            network,
            self._batches,
            {name: HeldOut.of(vectors, pool) for name, pool in held_out.items()},
            rates=[(network.parameters(), hparams.learning_rate)],
            dropout=GeneratorScope(seed, network.gates.device),
        )

    def loss(self, iteration: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        batch = Encoded.of(self._vectors, self._batches.draw_batch(self._hparams))
        terms = rase_terms(self.network, batch, self._hparams)
        return terms.total(), {f"{name}_loss": value for name, value in vars(terms).items()}

    def rate_factor(self, iteration: int) -> float:
        """Falls to nothing along a cosine."""
        return cosine_decay(math.pi * (iteration / self._hparams.iterations))

    def calibrate(self) -> None:
        calibrate(self.network, self.held_out)

    @torch.no_grad()
    def held_out_loss(self, pool: HeldOut) -> float:
        """The loss of all samples as one batch."""
        return rase_terms(self.network, pool.batch, self._hparams).total().item()

    def scores(self, pool: HeldOut) -> dict[str, float]:
        return rates(self.network, pool)


# ---- the editor's part -----------------------------------------------------------------------


class RaseTrainable(TrainedEditor[RaseT]):
    """An editor with RASE's retrieval, which is trained here; the language model takes no part."""

    quick = True
    uses_encoder = True

    @classmethod
    def training(cls, lm: LanguageModel, hparams: RaseT, resources: Resources) -> Training:
        """The heads, with calibrated gates; untrained, a gate that every query passes."""
        encoder, seed = required_encoder(resources, label=cls.label), resources.seed

        def initial() -> tuple[TextVectors, RaseNetwork]:
            vectors = TextVectors.from_directory(encoder, lm.device, hparams.pooling)
            return vectors, new_network(vectors, hparams, seed).to(lm.device)

        def initial_weights() -> Mapping[str, Tensor]:
            _, network = initial()
            for two_way in (False, True):
                network.set_gate(_OPEN, two_way=two_way)
            return network.state_dict()

        return Training(
            key="r_rome",
            hparams=trained_values(hparams),
            model_hparams=_MODEL_FIELDS,
            facts={"encoder_digest": encoder_digest(encoder)},
            learner=lambda samples: RaseTask(*initial(), samples, hparams, seed),
            initial_weights=initial_weights,
            loop=LoopSettings(
                iterations=hparams.iterations, checkpoint_interval=hparams.checkpoint_interval
            ),
            dtype=hparams.artefact_dtype,
        )

    @classmethod
    def fit(
        cls,
        lm: LanguageModel,
        samples: Samples,
        hparams: RaseT,
        resources: Resources,
        *,
        out: Path,
        progress: Progress | None = None,
    ) -> Path:
        """See the base class; without trained heads only the gates are calibrated."""
        if hparams.heads == "trained":
            return super().fit(lm, samples, hparams, resources, out=out, progress=progress)
        training = cls.training(lm, hparams, resources)
        path, run = training.run(lm, samples, resources.seed, out)
        if path.exists():
            check_identity(path, read_header(path), run)
            return path
        encoder = required_encoder(resources, label=cls.label)
        vectors = TextVectors.from_directory(encoder, lm.device, hparams.pooling)
        network = new_network(vectors, hparams, resources.seed).to(lm.device)
        _, held_out = split_pools(samples, examples_of, hparams.held_out, resources.seed)
        pools = {name: HeldOut.of(vectors, pool) for name, pool in held_out.items()}
        calibrate(network, pools)
        validation = {name: rates(network, pool) for name, pool in pools.items()}
        facts = {"selected_iteration": 0, "validation": validation}
        write_artefact(path, network.state_dict(), {**run, **facts})
        return path

    def trained_retriever(self) -> FactRetriever:
        """The retriever of the artefact that the resources name."""
        weights = self.trained_weights()
        encoder = required_encoder(self.resources, label=self.label)
        vectors = TextVectors.from_directory(encoder, self.lm.device, self.hparams.pooling)
        network = new_network(vectors, self.hparams, seed=0)
        network.load_state_dict(weights)
        return FactRetriever(vectors, network.to(self.lm.device).eval().requires_grad_(False))


def new_network(vectors: TextVectors, hparams: RaseHparams, seed: int) -> RaseNetwork:
    """Initial heads and the original's gates."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return RaseNetwork(vectors.width, hparams)
