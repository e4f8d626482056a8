"""What a retriever makes of samples that trained nothing: loss, calibration, rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Self

import torch
from torch import Tensor

from editors.parts.rase.calibration import Asked, calibrated_gate
from editors.parts.rase.examples import Example, Texts, texts_of
from editors.parts.rase.gate import rank
from editors.parts.rase.hparams import RaseHparams
from editors.parts.rase.losses import Encoded, rase_terms
from editors.parts.rase.network import RaseNetwork
from editors.parts.rase.retriever import Vectorise

# Weights in calibration: to answer what was edited and to keep quiet elsewhere count alike.
_WEIGHTS = {"reliability": 0.25, "generality": 0.25, "locality": 0.5}


def encoded(vectors: Vectorise, texts: Texts) -> Encoded:
    """A batch of texts as the encoder's vectors, in one go."""
    counts = [len(texts.facts), len(texts.sentences), len(texts.unrelated)]
    rows = vectors([*texts.facts, *texts.sentences, *texts.unrelated])
    facts, sentences, unrelated = rows.split(counts)
    return Encoded(
        facts,
        sentences,
        torch.tensor(texts.owners, device=rows.device),
        unrelated,
        torch.tensor(texts.unrelated_owners, device=rows.device),
    )


@dataclass(frozen=True)
class HeldOut:
    """One data set's held-out samples, encoded once because the encoder is frozen."""

    batch: Encoded
    edited: Tensor  # [n], which sentences are the edited prompts, one a fact

    @classmethod
    def of(cls, vectors: Vectorise, examples: Sequence[Example]) -> Self:
        """Encode some examples."""
        batch = encoded(vectors, texts_of(examples))
        first = torch.ones_like(batch.owners, dtype=torch.bool)
        first[1:] = batch.owners[1:] != batch.owners[:-1]
        return cls(batch, first)

    def asked(self, network: RaseNetwork, *, two_way: bool) -> dict[str, Asked]:
        """All queries to a memory of all facts, by kind; the network is in eval mode."""
        keys = network.facts(self.batch.facts)
        sentences = network.sentences(self.batch.sentences)
        edited = sentences[self.edited] if two_way else None
        own = rank(sentences, keys, edited)
        right = own.best == self.batch.owners
        other = rank(network.sentences(self.batch.unrelated), keys, edited)
        nothing = torch.zeros(len(other.scores), dtype=torch.bool, device=right.device)
        found = {
            "reliability": (own.scores[self.edited], right[self.edited], True),
            "generality": (own.scores[~self.edited], right[~self.edited], True),
            "locality": (other.scores, nothing, False),
        }
        return {kind: Asked(*asked, _WEIGHTS[kind]) for kind, asked in found.items()}


@torch.no_grad()
def calibrate(network: RaseNetwork, held_out: Mapping[str, HeldOut]) -> None:
    """Set both gates of a network by all held-out samples, with a memory for each data set."""
    network.eval()
    for two_way in (False, True):
        asked = [pool.asked(network, two_way=two_way) for pool in held_out.values()]
        gate = calibrated_gate([one for kinds in asked for one in kinds.values()])
        network.set_gate(gate, two_way=two_way)


@torch.no_grad()
def held_out_loss(network: RaseNetwork, held_out: Iterable[HeldOut], hparams: RaseHparams) -> float:
    """Mean over data sets of the loss of all samples as one batch."""
    network.eval()
    return fmean(rase_terms(network, pool.batch, hparams).total().item() for pool in held_out)


@torch.no_grad()
def rates(network: RaseNetwork, pool: HeldOut) -> dict[str, float]:
    """What the calibrated gates do with all samples of a data set in memory at once.

    `reliability` and `generality` are the shares of edited prompts and of rephrasings that retrieve
    their own fact, `locality` that of unrelated queries that retrieve nothing. `hit` is the share
    of both of the former together, `false_hit` the unrelated ones that retrieve something. The
    same numbers of the two-way ranking follow. These samples also set the thresholds.
    """
    network.eval()
    found: dict[str, float] = {"edits": len(pool.batch.facts)}
    for two_way in (False, True):
        gate, asked = network.gate(two_way=two_way), pool.asked(network, two_way=two_way)
        kinds = {kind: one.rate(gate) for kind, one in asked.items()}
        related = [asked["reliability"], asked["generality"]]
        queries = sum(len(one.top) for one in related)
        hits = sum(one.rate(gate) * len(one.top) for one in related)
        kinds |= {"hit": hits / queries, "false_hit": 1 - kinds["locality"]}
        found |= {f"two_way_{name}" if two_way else name: rate for name, rate in kinds.items()}
    return found
