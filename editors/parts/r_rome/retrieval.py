"""RASE's fact retrieval: which stored fact a query uses, if any.

Texts become vectors of a frozen sentence encoder, which two trained heads map to a space where a
query is near the fact that answers it; a gate decides whether the best fact is used.

Paper: "Improving Sequential Model Editing with Fact Retrieval" (Findings of EMNLP 2023). Code:
github.com/sev777/RASE at 840befc, which names no training settings and ships no weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from editors.base import EditRequest, Hparams
from editors.parts.checks import check_above, check_at_least, check_fields
from editors.parts.encoder import TextVectors
from editors.parts.retrieving import Candidate, Explanation

TOP_K = 6  # scores that the gate looks at (released code; the paper says five)
_DROPOUT = 0.2  # in front of the carry gates, as in the released code
_SEPARATOR = " || "  # released code, for ZSRE

Vectorise = Callable[[Sequence[str]], Tensor]  # B texts to unit vectors [B, H]


@dataclass(frozen=True, kw_only=True)
class RaseHparams(Hparams):
    """Defaults are the original's where it says any; the others are ours."""

    # `untrained` compares the encoder's own pooled vectors, as the released scripts mean to; its
    # training is the calibration of the gate alone.
    heads: Literal["trained", "untrained"] = "trained"
    # `calibrated` thresholds come with the trained weights, `published` are the original's, which
    # were tuned for its own encoder.
    gate: Literal["calibrated", "published"] = "calibrated"
    two_way: bool = False  # re-rank the best facts with the prompts that were edited
    plus_prompt: bool = False  # put the fact's prompt in front, at the edit and at the query

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


# How the weights are used, not how they come about; not part of an artefact's identity.
_IN_USE = ("gate", "two_way", "plus_prompt")


def trained_values(hparams: RaseHparams) -> dict[str, Any]:
    """The settings that an artefact depends on, as plain values."""
    values = hparams.to_dict()
    return {f.name: values[f.name] for f in fields(RaseHparams) if f.name not in _IN_USE}


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
