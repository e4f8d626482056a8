"""The parts of LTE: the follower, and how it is trained.

The default is the variant of RECIPE's authors, which also works for models that were never tuned
to chat.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from editors.base import EditSample
from editors.parts.deltas import WeightDelta
from editors.parts.encoder import TextVectors
from editors.parts.fact_memory import NONE, FactMemory, Questions, best_threshold, hit_rates
from editors.parts.language_model import LanguageModel
from editors.parts.lte_hparams import LteHparams
from editors.parts.recipe.losses import kl_divergence
from editors.parts.tokens import Ids, Pair, context_ids
from editors.parts.training.examples import (
    Drawn,
    Example,
    ProbeSampler,
    Question,
    examples_of,
    split_pools,
    usable,
)
from editors.parts.training.task import HELD_OUT_SEED, TrainingTask, decayed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


# ---- The follower ------------------------------------------------------------------------------

# qizhou000/LiveEdit; the question follows at once.
PREFIX = "[Updated Information]{fact}\n[Query]"
_THRESHOLD = "threshold"


class FollowerWeights(nn.Module):
    """Increments of all weights of a model, zero at first, and the threshold of retrieval.

    Increments are trained and stored instead of weights, because they lose little when they are
    rounded to half precision. Names have slashes where the model's have dots; a tied weight is
    there once.
    """

    threshold: Tensor  # cosine, calibrated for the encoder and not trained

    def __init__(
        self, model: nn.Module, threshold: float, device: torch.device | None = None
    ) -> None:
        """Increments on a device, by default that of the weights."""
        super().__init__()
        self.register_buffer(_THRESHOLD, torch.tensor(threshold))
        for name, parameter in model.named_parameters():
            increment = torch.zeros_like(parameter, dtype=torch.float32, device=device)
            self.register_parameter(name.replace(".", "/"), nn.Parameter(increment))

    @torch.no_grad()
    def put_into(self, follower: nn.Module, pristine: nn.Module) -> None:
        """Set a follower's weights to the pristine ones plus the increments."""
        own = dict(pristine.named_parameters())
        for name, parameter in follower.named_parameters():
            wide = torch.promote_types(own[name].dtype, torch.float32)
            increment = self._increment(name).to(own[name].device, wide)
            parameter.copy_(own[name].to(wide) + increment)

    def take_gradients(self, follower: nn.Module) -> None:
        """Move the gradients of a follower's weights to their increments."""
        for name, parameter in follower.named_parameters():
            increment, gradient = self._increment(name), parameter.grad
            increment.grad = None if gradient is None else gradient.to(increment)
            parameter.grad = None

    def _increment(self, name: str) -> nn.Parameter:
        return self.get_parameter(name.replace(".", "/"))


def no_increments(model: nn.Module, threshold: float) -> dict[str, Tensor]:
    """The state of untrained `FollowerWeights`, in half precision and apart from the model."""
    increments = {
        name.replace(".", "/"): torch.zeros(parameter.shape, dtype=torch.float16)
        for name, parameter in model.named_parameters()
    }
    return increments | {_THRESHOLD: torch.tensor(threshold)}


def copy_to_train(lm: LanguageModel, *, wide: bool = True) -> LanguageModel:
    """A second model whose weights get gradients; in single precision at least if `wide`."""
    follower = LanguageModel(copy.deepcopy(lm.model), lm.tokenizer, name=lm.name)
    dtype = torch.promote_types(lm.dtype, torch.float32) if wide else lm.dtype
    for parameter in follower.model.parameters():
        parameter.data = parameter.data.to(dtype)
        parameter.requires_grad_(True)
    return follower


@dataclass(frozen=True)
class Follower:
    """A trained follower: increments by the model's names, and a threshold of retrieval."""

    deltas: tuple[WeightDelta, ...]
    threshold: float

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> Follower:
        """From the state of `FollowerWeights`."""
        deltas = tuple(
            WeightDelta(name.replace("/", "."), value)
            for name, value in weights.items()
            if name != _THRESHOLD
        )
        return cls(deltas, float(weights[_THRESHOLD]))


# ---- Training ----------------------------------------------------------------------------------


_CHUNK = 64  # rows of one forward; results do not depend on it
_ASPECTS = ("reliability", "generality", "locality")


def prefix_ids(tokenizer: PreTrainedTokenizerBase, fact: str) -> list[int]:
    """Ids of the text that states a fact, with BOS where the tokenizer has one."""
    return context_ids(tokenizer, PREFIX.replace("{fact}", fact))


def tokenise(samples: Sequence[EditSample], tokenizer: PreTrainedTokenizerBase) -> list[Example]:
    """Examples whose `fact_ids` are those of the prefix that states the fact."""
    return examples_of(samples, tokenizer, fact_ids=lambda fact: prefix_ids(tokenizer, fact))


# ---- The loss -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class LteTerms:
    """The loss terms of one batch as scalars."""

    reliability: Tensor
    generality: Tensor
    locality: Tensor

    def total(self, hparams: LteHparams) -> Tensor:
        return (
            hparams.weight_reliability * self.reliability
            + hparams.weight_generality * self.generality
            + hparams.weight_locality * self.locality
        )


class LteObjective:
    """Compares a follower with the pristine model that it was copied from."""

    def __init__(self, pristine: LanguageModel, follower: LanguageModel) -> None:
        self.pristine = pristine
        self.follower = follower
        self.leading = len(pristine.special.front)

    def terms(self, drawn: Sequence[Drawn]) -> LteTerms:
        """The loss terms of a batch of b examples: one forward of 4 b rows.

        Reliability and generality are the mean negative log-likelihood of target tokens after the
        fact; tokens of facts and questions are no labels. Locality is the mean of two divergences
        from the pristine model's answer to the plain question: with the fact in front, and without.
        """
        b = len(drawn)
        plain = [d.locality.pair for d in drawn]
        rows = [d.example.reliability.after(d.example.fact_ids, self.leading) for d in drawn]
        rows += [d.generality.after(d.example.fact_ids, self.leading) for d in drawn]
        rows += plain
        rows += [d.locality.after(d.example.fact_ids, self.leading) for d in drawn]
        batch = self.pristine.batch_of_pairs(rows)
        logits = self.follower.target_logits(batch).float()  # [N, V]
        lengths = [len(target) for target in batch.target_ids]
        counts = [sum(lengths[i * b : (i + 1) * b]) for i in range(4)]
        reliability, generality, alone, with_fact = logits.split(counts)
        own_labels, rephrase_labels, _, _ = batch.labels.split(counts)
        with torch.no_grad():
            reference = self.pristine.target_logits(self.pristine.batch_of_pairs(plain)).float()
        divergence = kl_divergence(reference, alone) + kl_divergence(reference, with_fact)
        return LteTerms(
            reliability=functional.cross_entropy(reliability, own_labels),
            generality=functional.cross_entropy(generality, rephrase_labels),
            locality=divergence / 2,
        )


# ---- The task -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class HeldOut:
    """The held-out examples of a data set, and all questions to a memory of them."""

    examples: Sequence[Example]
    questions: Sequence[HeldOutQuestion]


class LteTask(TrainingTask[HeldOut]):
    """Adam on all weights of the follower.

    The follower is computed from the pristine weights and the increments at every step; the
    increments alone are trained and saved.
    """

    logged = ("edits", *(f"{kind}{aspect}" for aspect in _ASPECTS for kind in ("", "hit_")))
    network: FollowerWeights

    def __init__(
        self,
        lm: LanguageModel,
        samples: Mapping[str, Sequence[EditSample]],
        hparams: LteHparams,
        *,
        encoder: Path,
        seed: int,
    ) -> None:
        """Calibrate the threshold, and copy the model.

        Raises:
            ValueError: too few usable samples.
        """
        training, held_out = split_pools(
            samples, lambda rows: tokenise(rows, lm.tokenizer), hparams.held_out, seed
        )
        vectors = TextVectors.from_directory(encoder, lm.device)
        calibrating = {name: pool[: hparams.calibration] for name, pool in training.items()}
        calibrated = calibrated_threshold(vectors, calibrating)
        on_host = hparams.memory == "host"
        device = torch.device("cpu") if on_host else None
        network = FollowerWeights(lm.model, calibrated, device)
        objective = LteObjective(lm, copy_to_train(lm, wide=not on_host))
        threshold = hparams.threshold_in_use(calibrated)
        sampler = ProbeSampler(training, seed)
        super().__init__(
            network,
            sampler,
            {
                name: HeldOut(pool, questions_of(objective, vectors, pool, threshold))
                for name, pool in held_out.items()
            },
            rates=[(network.parameters(), hparams.learning_rate)],
        )
        self._hparams, self._batches, self._objective = hparams, sampler, objective
        self._device = lm.device

    def loss(self, iteration: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        """See the base class; a mean over parts of a batch, of which the last has a graph alone."""
        hparams = self._hparams
        drawn = self._batches.draw_probes(hparams.batch_size)
        size = hparams.micro_batch or len(drawn)
        losses, logged = [], dict.fromkeys(_ASPECTS, torch.zeros((), device=self._device))
        for start in range(0, len(drawn), size):
            part = drawn[start : start + size]
            terms, share = self._objective.terms(part), len(part) / len(drawn)
            losses.append(terms.total(hparams) * share)
            if start + size < len(drawn):
                losses[-1].backward()
                losses[-1] = losses[-1].detach()
            for name, value in vars(terms).items():
                logged[name] = logged[name] + share * value.detach()
        return torch.stack(losses).sum(), logged

    def rate_factor(self, iteration: int) -> float:
        """Rises to 1 and then decays, as transformers' schedules with a warm-up."""
        hparams = self._hparams
        rising = math.ceil(hparams.warmup * hparams.iterations)
        if iteration < rising:
            return iteration / rising
        left = hparams.iterations - rising
        return decayed(hparams.learning_rate_decay, iteration - rising, left)

    def enter(self, *, training: bool) -> None:
        super().enter(training=training)
        self.network.put_into(self._objective.follower.model, self._objective.pristine.model)

    def collect_gradients(self) -> None:
        self.network.take_gradients(self._objective.follower.model)

    @torch.no_grad()
    def held_out_loss(self, pool: HeldOut) -> float:
        """Mean total loss over the held-out examples."""
        size, totals = self._hparams.batch_size, []
        drawn = ProbeSampler({"held_out": pool.examples}, HELD_OUT_SEED).probes(pool.examples)
        for start in range(0, len(drawn), size):
            part = drawn[start : start + size]
            totals.append(self._objective.terms(part).total(self._hparams).item() * len(part))
        return sum(totals) / len(drawn)

    def scores(self, pool: HeldOut) -> dict[str, float]:
        """Token accuracies of the follower, and `hit_*` retrieval rates."""
        scores = scores_of(self._objective.follower, pool.questions)
        return {"edits": len(pool.examples)} | scores


def steps_of(samples: Mapping[str, Sequence[EditSample]], hparams: LteHparams) -> int:
    """Steps of the epochs over all usable samples that are not held out."""
    counts = [len(usable(rows)) for rows in samples.values()]
    trained_on = sum(count - min(hparams.held_out, count // 10) for count in counts)
    return max(1, math.ceil((hparams.epochs or 1) * trained_on / hparams.batch_size))


def calibrated_threshold(vectors: TextVectors, streams: Mapping[str, Sequence[Example]]) -> float:
    """The threshold that maximises hit rate - false-hit rate, averaged over data sets.

    The edits of a data set are all in memory, as they will be at the end of a stream; edits of
    other data sets are not. Questions about an edit are its own prompt and its generality probes,
    unrelated ones its locality probes. The threshold is rounded to half precision, as artefacts
    store it.
    """
    rates = []
    for examples in streams.values():
        related = [(k, question.text) for k, e in enumerate(examples) for question in e.related]
        unrelated = [question.text for e in examples for question in e.unrelated]
        questions = Questions([e.fact for e in examples], related, unrelated)
        rates.append(hit_rates(vectors, questions))
    scores, weights = (torch.cat(parts) for parts in zip(*rates, strict=True))
    return float(torch.tensor(best_threshold(scores, weights)).half())


# ---- Held-out scores ----------------------------------------------------------------------------


@dataclass(frozen=True)
class HeldOutQuestion:
    """A question as the follower reads it, and what it should answer."""

    aspect: str
    pair: Pair
    wanted: Ids
    hit: bool  # retrieved its own edit, or nothing for locality


def questions_of(
    objective: LteObjective,
    vectors: TextVectors,
    examples: Sequence[Example],
    threshold: float | None,
) -> list[HeldOutQuestion]:
    """All questions to a memory of all examples, with the facts that they retrieve in front.

    The encoder is frozen, so retrieval is done once. It sees prompts only; locality compares with
    the pristine model's argmax, with teacher forcing.
    """
    memory = FactMemory(vectors.width, objective.pristine.device)
    facts = [example.fact for example in examples]
    memory.append(facts, vectors(facts))
    rows: list[tuple[int, str, Question]] = []  # (edit that should be found, aspect, question)
    for k, e in enumerate(examples):
        own, *rephrases = e.related
        rows += [(k, "reliability", own), *((k, "generality", q) for q in rephrases)]
        rows += [(NONE, "locality", question) for question in e.unrelated]
    retrieved = memory.retrieve(vectors([q.text for _, _, q in rows]), threshold).tolist()
    unrelated = [question.pair for example in examples for question in example.unrelated]
    plain = iter(_predicted(objective.pristine, unrelated))
    questions = []
    for (own_edit, aspect, question), number in zip(rows, retrieved, strict=True):
        pair = question.pair
        if number != NONE:
            pair = question.after(examples[number].fact_ids, objective.leading)
        wanted = next(plain) if aspect == "locality" else question.target
        questions.append(HeldOutQuestion(aspect, pair, wanted, number == own_edit))
    return questions


def scores_of(follower: LanguageModel, questions: Sequence[HeldOutQuestion]) -> dict[str, float]:
    """Mean token accuracy and share of right retrievals of each aspect."""
    predicted = _predicted(follower, [question.pair for question in questions])
    scores: dict[str, float] = {}
    for aspect in _ASPECTS:
        rows = [(q, ids) for q, ids in zip(questions, predicted, strict=True) if q.aspect == aspect]
        scores[aspect] = fmean(
            fmean(a == b for a, b in zip(ids, question.wanted, strict=True))
            for question, ids in rows
        )
        scores[f"hit_{aspect}"] = fmean(question.hit for question, _ in rows)
    return scores


@torch.no_grad()
def _predicted(lm: LanguageModel, pairs: Sequence[Pair]) -> list[list[int]]:
    """The argmax at each target token of (prompt, target) rows."""
    predicted: list[list[int]] = []
    for start in range(0, len(pairs), _CHUNK):
        batch = lm.batch_of_pairs(pairs[start : start + _CHUNK])
        counts = [len(target) for target in batch.target_ids]
        parts = lm.target_logits(batch).argmax(-1).split(counts)
        predicted += [part.tolist() for part in parts]
    return predicted
