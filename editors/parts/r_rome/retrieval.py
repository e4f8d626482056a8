"""RASE's fact retrieval: which stored fact a query uses, if any.

Texts become vectors of a frozen sentence encoder, which two trained heads map to a space where a
query is near the fact that answers it; a gate decides whether the best fact is used. Its
thresholds are chosen on training edits that trained nothing.

Paper: "Improving Sequential Model Editing with Fact Retrieval" (Findings of EMNLP 2023). Code:
github.com/sev777/RASE at 840befc, which names no training settings and ships no weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from editors.base import EditRequest, EditSample, Hparams
from editors.parts.checks import check_above, check_at_least, check_fields
from editors.parts.encoder import TextVectors
from editors.parts.retrieving import Candidate, Explanation
from editors.parts.training.examples import usable

TOP_K = 6  # scores that the gate looks at (released code; the paper says five)
_DROPOUT = 0.2  # in front of the carry gates, as in the released code
_SEPARATOR = " || "  # released code, for ZSRE

Vectorise = Callable[[Sequence[str]], Tensor]  # B texts to unit vectors [B, H]


@dataclass(frozen=True, kw_only=True)
class RaseHparams(Hparams):
    """Defaults are the original's where it says any; the others are ours.

    `ORIGINAL` is the original in the points where the default departs from it.
    """

    later_fields = frozenset({"pooling", "negatives"})

    # `untrained` compares the encoder's own pooled vectors, as the released scripts mean to; its
    # training is the calibration of the gate alone.
    heads: Literal["trained", "untrained"] = "trained"
    # `calibrated` thresholds come with the trained weights, `published` are the original's, which
    # were tuned for its own encoder.
    gate: Literal["calibrated", "published"] = "calibrated"
    two_way: bool = False  # re-rank the best facts with the prompts that were edited
    plus_prompt: bool = False  # put the fact's prompt in front, at the edit and at the query

    # How the encoder's tokens become a vector: as the encoder itself says, else by their mean; or
    # by its pooler's output, as in the released code. A plain roberta-base has no pooler.
    pooling: Literal["tokens", "pooler"] = "tokens"
    # What a sentence's own fact must beat in the margin loss: the other facts and, ours, because
    # the gate must turn queries away too, the unrelated queries of the fact; or the facts alone.
    negatives: Literal["facts_and_unrelated", "facts"] = "facts_and_unrelated"

    # Model.
    width: int = 512  # of the heads' output; ours
    highway_layers: int = 2

    # Losses.
    temperature: float = 0.1
    margin: float = 0.1  # by which a sentence's own fact must be ahead; ours

    # Optimisation: ours, but for the sizes of a batch.
    learning_rate: float = 1e-3  # of Adam; falls to nothing along a cosine
    batch_size: int = 64  # facts
    sentences_per_fact: int = 5  # at most: the edited prompt first, then drawn ones
    iterations: int = 5_000
    checkpoint_interval: int = 500
    held_out: int = 200  # samples of each data set, which choose a checkpoint and set the gate
    artefact_dtype: Literal["float32", "float16"] = "float32"

    def __post_init__(self) -> None:
        check_fields(self, RaseHparams)
        check_above("temperature", self.temperature, 0)
        check_above("learning_rate", self.learning_rate, 0)
        check_at_least("margin", self.margin, 0)


# sev777/RASE at 840befc: models.py:42,133-137 and utils.py:98-121.
ORIGINAL: Mapping[str, Any] = {"gate": "published", "pooling": "pooler", "negatives": "facts"}

# How the weights are used, not how they come about; not part of an artefact's identity.
_IN_USE = ("gate", "two_way", "plus_prompt")


def trained_values(hparams: RaseHparams) -> dict[str, Any]:
    """The settings that an artefact depends on, as plain values."""
    values = hparams.to_dict()
    names = {f.name for f in fields(RaseHparams)} - set(_IN_USE)
    return {name: value for name, value in values.items() if name in names}


def fact_prompt(request: EditRequest) -> str:
    """A fact's description without its answer: what makes two edits edits of one fact."""
    return f"{request.subject}{_SEPARATOR}{request.prompt}"


def fact_text(request: EditRequest) -> str:
    """A fact's description."""
    return f"{fact_prompt(request)}{_SEPARATOR}{request.target}"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A query fires if its best score is high, or if it stands out from the next ones.

    The defaults are the original's, tuned there for its own trained encoder.
    """

    maximum: float = 0.9  # of the best score
    difference: float = 0.15  # of the best and the second
    spread: float = 0.05  # population standard deviation of the best six

    def fires(self, top: Tensor) -> Tensor:
        """Whether [B] each query fires, by its best scores [B, K] in descending order.

        A memory of fewer than six facts gives what it has; one fact alone has only the first rule.
        All comparisons are strict.
        """
        high = top[:, 0] > self.maximum
        if top.shape[1] == 1:
            return high
        apart = top[:, 0] - top[:, 1] > self.difference
        return high | (apart & (top.std(dim=1, correction=0) > self.spread))

    def explanation(self, candidates: Sequence[Candidate], used: int | None) -> Explanation:
        """Which of the best facts a query uses, and by which of the two rules."""
        apart = used is not None and candidates[0].score <= self.maximum
        return Explanation(
            measure="cosine",
            candidates=tuple(candidates),
            limit=self.maximum,
            limit_is="threshold",
            used=used,
            note="the best stands out from the others" if apart else "",
        )


@dataclass(frozen=True)
class Ranking:
    """The best facts of each of B queries, K of them at most, in descending order."""

    scores: Tensor  # [B, K]
    index: Tensor  # [B, K]

    @property
    def best(self) -> Tensor:
        """Index [B] of the best fact."""
        return self.index[:, 0]


def rank(queries: Tensor, keys: Tensor, sentences: Tensor | None = None) -> Ranking:
    """As `rank_units`, of vectors of any length."""
    units = None if sentences is None else functional.normalize(sentences, dim=-1)
    return rank_units(queries, functional.normalize(keys, dim=-1), units)


def rank_units(queries: Tensor, keys: Tensor, sentences: Tensor | None = None) -> Ranking:
    """The best facts for queries [B, w], by cosine to the facts' keys [N, w], of unit length.

    With `sentences` [N, w], of unit length too, the embeddings of the prompts that were edited, the
    ranking is two-way: the best facts by their keys are re-ranked by the mean of both cosines
    (the paper's sum would not fit the thresholds; the released code takes the mean).
    """
    queries = functional.normalize(queries, dim=-1)
    cosines = queries @ keys.T  # [B, N]
    top = cosines.topk(min(TOP_K, len(keys)), dim=1)
    if sentences is None:
        return Ranking(top.values, top.indices)
    near = sentences[top.indices]  # [B, K, w]
    both = (top.values + (near @ queries[:, :, None])[..., 0]) / 2
    again = both.sort(dim=1, descending=True, stable=True)
    return Ranking(again.values, top.indices.gather(1, again.indices))


class HighwayHead(nn.Module):
    """Text vectors [B, H] to unit vectors [B, w]: highway layers, then a linear map.

    A highway layer mixes g * relu(W x) + (1 - g) * x with a gate g = sigmoid(V x) whose bias starts
    at 0 (released code; Srivastava et al., 2015).
    """

    def __init__(self, size: int, width: int, layers: int) -> None:
        super().__init__()
        self.nonlinear = nn.ModuleList(nn.Linear(size, size) for _ in range(layers))
        self.carry = nn.ModuleList(nn.Linear(size, size) for _ in range(layers))
        self.outward = nn.Linear(size, width)
        for layer in self.carry:
            nn.init.zeros_(layer.get_parameter("bias"))

    def forward(self, vectors: Tensor) -> Tensor:
        hidden = vectors * math.sqrt(vectors.shape[-1])  # unit vectors have tiny components
        for nonlinear, carry in zip(self.nonlinear, self.carry, strict=True):
            gate = torch.sigmoid(carry(functional.dropout(hidden, _DROPOUT, self.training)))
            hidden = gate * torch.relu(nonlinear(hidden)) + (1 - gate) * hidden
        return functional.normalize(self.outward(hidden), dim=-1)


class RaseNetwork(nn.Module):
    """All that training gives: a head for facts, one for sentences, calibrated gates.

    Build it under a forked generator: modules draw their initial weights from the global one.
    Without trained heads both are the identity.
    """

    def __init__(self, size: int, hparams: RaseHparams) -> None:
        super().__init__()
        self.trained = hparams.heads == "trained"
        if self.trained:
            sizes = (size, hparams.width, hparams.highway_layers)
            self.fact_head = HighwayHead(*sizes)
            self.sentence_head = HighwayHead(*sizes)
        self.gates = nn.Buffer(torch.stack([_row(Gate()), _row(Gate())]))  # one-way, two-way

    def facts(self, vectors: Tensor) -> Tensor:
        """Unit vectors [B, w] of stored facts, from the encoder's [B, H]."""
        encoded: Tensor = self.fact_head(vectors) if self.trained else vectors
        return encoded

    def sentences(self, vectors: Tensor) -> Tensor:
        """Unit vectors [B, w] of edited prompts and of queries, from the encoder's [B, H]."""
        encoded: Tensor = self.sentence_head(vectors) if self.trained else vectors
        return encoded

    def gate(self, *, two_way: bool) -> Gate:
        """The calibrated gate of one of the two rankings."""
        maximum, difference, spread = self.gates[int(two_way)].tolist()
        return Gate(maximum=maximum, difference=difference, spread=spread)

    @torch.no_grad()
    def set_gate(self, gate: Gate, *, two_way: bool) -> None:
        """Store a calibrated gate with the weights."""
        self.gates[int(two_way)] = _row(gate).to(self.gates)


def _row(gate: Gate) -> Tensor:
    return torch.tensor([gate.maximum, gate.difference, gate.spread])


@dataclass(frozen=True)
class FactRetriever:
    """Encoder and network are frozen and in eval mode."""

    vectors: TextVectors
    network: RaseNetwork

    @torch.no_grad()
    def facts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [B, w] of fact descriptions."""
        return self.network.facts(self.vectors(texts))

    @torch.no_grad()
    def sentences(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [B, w] of prompts and queries."""
        return self.network.sentences(self.vectors(texts))


# ---- Calibration of the gate, and rates of retrieval -------------------------------------------

# Candidates of each threshold, at most; those that are tried lie at quantiles of the scores.
_MAXIMA, _DIFFERENCES, _SPREADS = 201, 21, 11
_BEYOND = 0.01  # how far the outermost ones lie beyond all values
_NEVER = 2.0  # no two cosines differ by more: switches the second rule off
# Weights in calibration: answering what was edited and leaving alone the rest count alike.
_WEIGHTS = {"reliability": 0.25, "generality": 0.25, "locality": 0.5}


@dataclass(frozen=True)
class Example:
    """One edit sample as texts."""

    fact: str
    sentences: tuple[str, ...]  # the edited prompt first, then the generality probes
    unrelated: tuple[str, ...]  # the locality probes

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.fact, *self.sentences, *self.unrelated)


def examples_of(samples: Sequence[EditSample]) -> list[Example]:
    """Examples of all samples with at least one generality and one locality probe."""
    return [
        Example(
            fact=fact_text(sample.request),
            sentences=(sample.request.prompt, *(probe.prompt for probe in sample.generality)),
            unrelated=tuple(probe.prompt for probe in sample.locality),
        )
        for sample in usable(samples)
    ]


@dataclass(frozen=True)
class Encoded:
    """b facts with n sentences about them and u queries that none of them answers, encoded.

    Every query of `unrelated` is near one fact, its owner, and must not use it.
    """

    facts: Tensor  # [b, H]
    sentences: Tensor  # [n, H]
    owners: Tensor  # [n], the fact of each sentence
    unrelated: Tensor  # [u, H]
    unrelated_owners: Tensor  # [u]

    @classmethod
    def of(cls, vectors: Vectorise, examples: Sequence[Example]) -> Encoded:
        """All texts of some examples as the encoder's vectors, in one go."""
        sentences = [(n, text) for n, example in enumerate(examples) for text in example.sentences]
        unrelated = [(n, text) for n, example in enumerate(examples) for text in example.unrelated]
        texts = [example.fact for example in examples]
        texts += [text for _, text in (*sentences, *unrelated)]
        rows = vectors(texts)
        parts = rows.split([len(examples), len(sentences), len(unrelated)])
        owners, others = (
            torch.tensor([number for number, _ in group], device=rows.device)
            for group in (sentences, unrelated)
        )
        return cls(parts[0], parts[1], owners, parts[2], others)


@dataclass(frozen=True)
class Queries:
    """Queries of one kind to one memory, and what the ranking gave them."""

    top: Tensor  # [B, K], best scores in descending order
    right: Tensor  # [B], whether the best fact is the query's own; False for unrelated queries
    related: bool  # should the gate fire?
    weight: float = 1.0

    def __len__(self) -> int:
        return len(self.top)

    def rate(self, gate: Gate) -> float:
        """Share of queries that the gate treats as it should."""
        return float(self._treated(gate.fires(self.top)).double().mean())

    def score(self, fires: Tensor) -> Tensor:
        """Weighted share [G] of rightly treated queries, for decisions [B, G] of G gates."""
        treated = self._treated(fires.T).double()  # [G, B]
        return self.weight * treated.mean(dim=-1)

    def _treated(self, fires: Tensor) -> Tensor:
        return fires & self.right if self.related else ~fires


@dataclass(frozen=True)
class HeldOut:
    """One data set's held-out samples, encoded once because the encoder is frozen."""

    batch: Encoded
    edited: Tensor  # [n], which sentences are the edited prompts, one a fact

    @classmethod
    def of(cls, vectors: Vectorise, examples: Sequence[Example]) -> HeldOut:
        """Encode some examples."""
        batch = Encoded.of(vectors, examples)
        first = torch.ones_like(batch.owners, dtype=torch.bool)
        first[1:] = batch.owners[1:] != batch.owners[:-1]
        return cls(batch, first)

    def queries(self, network: RaseNetwork, *, two_way: bool) -> dict[str, Queries]:
        """All queries to a memory of all facts, by kind; the network is in eval mode."""
        keys = network.facts(self.batch.facts)
        sentences = network.sentences(self.batch.sentences)
        edited = sentences[self.edited] if two_way else None
        own = rank(sentences, keys, edited)
        right = own.best == self.batch.owners
        other = rank(network.sentences(self.batch.unrelated), keys, edited)
        nothing = torch.zeros(len(other.scores), dtype=torch.bool, device=right.device)
        kinds = {
            "reliability": (own.scores[self.edited], right[self.edited], True),
            "generality": (own.scores[~self.edited], right[~self.edited], True),
            "locality": (other.scores, nothing, False),
        }
        return {kind: Queries(*ranked, _WEIGHTS[kind]) for kind, ranked in kinds.items()}


@torch.no_grad()
def calibrate(network: RaseNetwork, held_out: Mapping[str, HeldOut]) -> None:
    """Set both gates of a network by all held-out samples, with a memory for each data set."""
    network.eval()
    for two_way in (False, True):
        pools = [pool.queries(network, two_way=two_way) for pool in held_out.values()]
        gate = calibrated_gate([queries for kinds in pools for queries in kinds.values()])
        network.set_gate(gate, two_way=two_way)


@torch.no_grad()
def rates(network: RaseNetwork, pool: HeldOut) -> dict[str, float]:
    """What the calibrated gates do with all samples of a data set in memory at once.

    `reliability` and `generality` are the shares of edited prompts and of rephrasings that retrieve
    their own fact, `locality` that of unrelated queries that retrieve nothing. `hit` is the share
    of both of the former together, `false_hit` the unrelated ones that retrieve something. The
    same numbers of the two-way ranking follow. These samples also set the thresholds.
    """
    network.eval()
    shares: dict[str, float] = {"edits": len(pool.batch.facts)}
    for two_way in (False, True):
        gate, queries = network.gate(two_way=two_way), pool.queries(network, two_way=two_way)
        kinds = {kind: group.rate(gate) for kind, group in queries.items()}
        related = [queries["reliability"], queries["generality"]]
        hits = sum(group.rate(gate) * len(group) for group in related)
        kinds |= {"hit": hits / sum(map(len, related)), "false_hit": 1 - kinds["locality"]}
        shares |= {f"two_way_{name}" if two_way else name: rate for name, rate in kinds.items()}
    return shares


def calibrated_gate(groups: Sequence[Queries]) -> Gate:
    """The gate that treats most queries rightly, each kind by its weight.

    The rule on the best score comes first and alone, because a memory of one fact has no other;
    the second rule is added where it helps on top.
    """
    maximum = _best_maximum(groups)
    gates = [Gate(maximum=maximum, difference=_NEVER)]
    if min(group.top.shape[1] for group in groups) > 1:
        apart = torch.cat([group.top[:, 0] - group.top[:, 1] for group in groups])
        spread = torch.cat([group.top.std(dim=1, correction=0) for group in groups])
        gates += [
            Gate(maximum=maximum, difference=difference, spread=deviation)
            for difference in _candidates(apart, _DIFFERENCES).tolist()
            for deviation in _candidates(spread, _SPREADS).tolist()
        ]
    fires = [torch.stack([gate.fires(group.top) for gate in gates], dim=1) for group in groups]
    return gates[int(_total(groups, fires).argmax())]  # the first of several: second rule off


def _best_maximum(groups: Sequence[Queries]) -> float:
    """The middle threshold of those that do best."""
    candidates = _candidates(torch.cat([group.top[:, 0] for group in groups]), _MAXIMA)
    scores = _total(groups, [group.top[:, :1] > candidates for group in groups])
    best = candidates[scores == scores.max()]
    return float(best[len(best) // 2])


def _total(groups: Sequence[Queries], fires: Sequence[Tensor]) -> Tensor:
    return torch.stack([g.score(f) for g, f in zip(groups, fires, strict=True)]).sum(dim=0)


def _candidates(values: Tensor, count: int) -> Tensor:
    """Ascending thresholds, at most `count`: between neighbouring values, below and above all."""
    distinct = values.unique()
    middles = (distinct[1:] + distinct[:-1]) / 2
    thresholds = torch.cat([distinct[:1] - _BEYOND, middles, distinct[-1:] + _BEYOND])
    chosen = torch.linspace(0, len(thresholds) - 1, min(count, len(thresholds)))
    return thresholds[chosen.round().long().to(thresholds.device)]
