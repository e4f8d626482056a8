"""The gate's thresholds, chosen on training edits that trained nothing, and rates of retrieval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editors.base import EditSample
from editors.parts.r_rome.retrieval import Gate, RaseNetwork, Vectorise, fact_text, rank
from editors.parts.training.examples import usable

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
