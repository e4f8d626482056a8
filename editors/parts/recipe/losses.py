"""RECIPE's training loss: the paper's equations 10 to 17, and the released code's form of them.

    L_total = L_rel + L_gen + L_loc + L_no + L_so                                            (17)

L_rel, L_gen and L_loc (10-12) teach prompts to steer the frozen language model; the contrastive
L_no and L_so (13-16) teach the retriever to find an edit's own key, or else the sentinel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from editors.parts.language_model import LanguageModel
from editors.parts.prefix import prefixed
from editors.parts.recipe.hparams import RecipeHparams
from editors.parts.recipe.network import Trained, similarity
from editors.parts.tokens import Ids, Pair, in_groups, placed

Reduction = Literal["token_mean", "seq_sum"]


@dataclass(frozen=True)
class RecipeBatch:
    """b examples as lists of ids; `queries` and `rows` hold reliability, generality, locality."""

    knowledge: Sequence[Ids]  # [b] encoder ids of the knowledge strings
    queries: Sequence[Ids]  # [3 b] encoder ids of prompts
    rows: Sequence[Pair]  # [3 b] (prompt ids, target ids)
    generality_first: Sequence[bool]  # [b], see `contrastive_terms`

    def __len__(self) -> int:
        return len(self.knowledge)


@dataclass(frozen=True)
class Terms:
    """The loss terms of one batch as scalars; terms that the schedule leaves out are 0."""

    reliability: Tensor
    generality: Tensor
    locality: Tensor
    neighbour: Tensor
    sentinel_edit: Tensor
    sentinel_locality: Tensor

    def total(self, hparams: RecipeHparams, ramp: float = 1.0) -> Tensor:
        """Weighted sum (17); `ramp` scales the terms that the schedule holds back."""
        editing = (
            hparams.weight_reliability * self.reliability
            + hparams.weight_generality * self.generality
        )
        retrieval = hparams.weight_contrastive * (
            self.neighbour + self.sentinel_edit + self.sentinel_locality
        )
        locality = hparams.weight_locality * self.locality
        if hparams.schedule == "late_locality":
            return editing + retrieval + ramp * locality
        return editing + ramp * (retrieval + locality)


class Objective:
    """Computes the loss terms of batches, for a frozen language model and a network in training."""

    def __init__(self, lm: LanguageModel, trained: Trained, hparams: RecipeHparams) -> None:
        self.lm = lm
        self.trained = trained
        self.hparams = hparams

    def terms(self, batch: RecipeBatch, *, retrieval: bool = True, locality: bool = True) -> Terms:
        """The loss terms of a batch of b examples; the editing terms always, the others if wanted.

        The gradient reaches the network through the prompts and the scores. One forward of the
        encoder and one of the language model, one more for the reference without prompts, and the
        head only where targets are predicted.
        """
        network, device = self.trained.network, self.lm.device
        zero = torch.zeros((), device=device)
        neighbour = sentinel_edit = sentinel_locality = zero
        if retrieval:
            reps = self._representations(batch)
            first = torch.tensor(batch.generality_first, device=device)
            neighbour, sentinel_edit, sentinel_locality = contrastive_terms(
                reps, first, self.hparams
            )
            keys = reps.keys
        else:
            keys = network.knowledge(self.trained.pooled(batch.knowledge, device))
        prompts = network.prompts(keys)  # [b, l, d], one for all questions about an edit
        answers = self._answers(batch, prompts, 3 if locality else 2)
        return Terms(
            reliability=self._nll(*answers[0], len(batch)),  # L_rel (10)
            generality=self._nll(*answers[1], len(batch)),  # L_gen (11)
            locality=self._kl(batch, answers[2][0]) if locality else zero,  # L_loc (12)
            neighbour=neighbour,  # L_no
            sentinel_edit=sentinel_edit,  # L_so, of queries about edits
            sentinel_locality=sentinel_locality,  # L_so, of unrelated queries
        )

    def _representations(self, batch: RecipeBatch) -> Representations:
        size, network = len(batch), self.trained.network
        # [4 b, P]
        pooled = self.trained.pooled([*batch.knowledge, *batch.queries], self.lm.device)
        reliability, generality, locality = network.queries(pooled[size:]).split(size)
        return Representations(
            keys=network.knowledge(pooled[:size]),
            sentinel=network.sentinel_key(),
            reliability=reliability,
            generality=generality,
            locality=locality,
        )

    def _answers(
        self, batch: RecipeBatch, prompts: Tensor, parts: int
    ) -> list[tuple[Tensor, Tensor]]:
        """(logits [N, V], labels [N]) of the first `parts` thirds of the rows, with prompts."""
        size = len(batch)
        rows = batch.rows[: parts * size]
        prompts = prompts.repeat(parts, 1, 1)

        def logits(group: list[int]) -> Tensor:
            hits = torch.ones(len(group), dtype=torch.bool, device=self.lm.device)
            with prefixed(
                self.lm,
                prompts[group],
                hits,
                inject=self.hparams.inject,
                positions=self.hparams.positions,
            ):
                return self.lm.target_logits(self.lm.batch_of_pairs([rows[row] for row in group]))

        counts = [len(target) for _, target in rows]
        widths = [len(prompt) + len(target) for prompt, target in rows]
        labels = placed([token for _, target in rows for token in target], self.lm.device)
        sizes = [sum(counts[i * size : (i + 1) * size]) for i in range(parts)]
        answers = in_groups(widths, logits, counts).float().split(sizes)
        return list(zip(answers, labels.split(sizes), strict=True))

    def _nll(self, logits: Tensor, labels: Tensor, rows: int) -> Tensor:
        return hinged_nll(
            logits,
            labels,
            hinge=self.hparams.edit_hinge,
            eps=self.hparams.eps,
            reduction=self.hparams.nll,
            rows=rows,
        )

    def _kl(self, batch: RecipeBatch, logits: Tensor) -> Tensor:
        with torch.no_grad():
            rows = self.lm.batch_of_pairs(batch.rows[2 * len(batch) :])
            plain = self.lm.target_logits(rows).float()
        return kl_divergence(plain, logits, reduction=self.hparams.kl, rows=len(batch))


# ---- Prompts that steer (equations 10-12) -------------------------------------------------------


def hinged_nll(
    logits: Tensor,
    labels: Tensor,
    *,
    hinge: float | None,
    eps: float,
    reduction: Reduction = "token_mean",
    rows: int = 1,
) -> Tensor:
    """Negative log-likelihood of labels [N] over the contested ones; 0 if there is none.

    `token_mean` divides by the number of contested tokens (released code), `seq_sum` by the number
    of answers, `rows` (paper).
    """
    counted = contested(logits, labels, hinge).to(logits.dtype)
    total = (negative_log(logits, labels, eps) * counted).sum()
    return total / counted.sum().clamp(min=1) if reduction == "token_mean" else total / rows


def contested(logits: Tensor, labels: Tensor, hinge: float | None) -> Tensor:
    """Rows [N] that still need training: p(label) < hinge x the row's second largest probability.

    A row is dropped exactly when its label wins by the factor `hinge`; None drops no row. A label
    without a rival has won.
    """
    if hinge is None:
        return torch.ones_like(labels, dtype=torch.bool)
    if logits.shape[-1] == 1:
        return torch.zeros_like(labels, dtype=torch.bool)
    probabilities = logits.softmax(-1)
    own = probabilities.gather(-1, labels[:, None])[:, 0]
    return own < hinge * probabilities.topk(2, dim=-1).values[:, 1]


def negative_log(logits: Tensor, labels: Tensor, eps: float) -> Tensor:
    """-log(p(label) + eps) [N] under the softmax of logits [N, V]."""
    if eps == 0:
        return -logits.log_softmax(-1).gather(-1, labels[:, None])[:, 0]
    return -(logits.softmax(-1).gather(-1, labels[:, None])[:, 0] + eps).log()


def kl_divergence(
    reference: Tensor, logits: Tensor, *, reduction: Reduction = "token_mean", rows: int = 1
) -> Tensor:
    """KL(softmax(reference) || softmax(logits)) of [N, V] logits, per token or per answer."""
    reference_log = reference.log_softmax(-1)
    total = (reference_log.exp() * (reference_log - logits.log_softmax(-1))).sum()
    return total / (len(logits) if reduction == "token_mean" else rows)


# ---- A retriever that finds (equations 13-16) ---------------------------------------------------


@dataclass(frozen=True)
class Representations:
    """The retriever's view of a batch of b samples: [b, d_r] each, the sentinel [1, d_r]."""

    keys: Tensor
    sentinel: Tensor
    reliability: Tensor
    generality: Tensor
    locality: Tensor


def contrastive_terms(
    reps: Representations, generality_first: Tensor, hparams: RecipeHparams
) -> tuple[Tensor, Tensor, Tensor]:
    """(L_no, L_so of edit queries, L_so of locality): InfoNCE against all keys and the sentinel.

    In the released code each sample gives one of its two edit queries to L_no and the other to
    L_so; True in `generality_first` [b] sends the generality query to L_no. The paper's form uses
    both in both. Without a sentinel the loss is plainly contrastive.
    """
    if hparams.gate == "threshold":
        return _plain(reps, hparams)
    if hparams.contrastive == "paper":
        pairs = [(reps.reliability, reps.generality), (reps.generality, reps.reliability)]
    else:
        swap = generality_first[:, None]
        first = torch.where(swap, reps.generality, reps.reliability)
        second = torch.where(swap, reps.reliability, reps.generality)
        pairs = [(first, second)]
    terms = [
        (_neighbour(reps, first, hparams), _own_removed(reps, second, hparams))
        for first, second in pairs
    ]
    neighbour, own_removed = (torch.stack(parts).sum() for parts in zip(*terms, strict=True))
    return neighbour, own_removed, _locality(reps, hparams)


def _plain(reps: Representations, hparams: RecipeHparams) -> tuple[Tensor, Tensor, Tensor]:
    """Each edit query must find its own key, which no locality query may be as near to.

    The paper's section 5.3 names a contrastive loss that pulls the queries of an edit to the
    knowledge while distancing those of locality samples, without a formula. This InfoNCE is our
    reading: a query's own score against those of the other keys, and against the scores that the
    batch's locality queries have with its own key.
    """
    own = torch.arange(len(reps.keys), device=reps.keys.device)
    unrelated = _scores(reps, reps.locality, hparams)[:, :-1].T  # [b, b], by key
    losses = [
        negative_log(
            torch.cat([_scores(reps, queries, hparams)[:, :-1], unrelated], dim=1), own, hparams.eps
        ).mean()
        for queries in (reps.reliability, reps.generality)
    ]
    zero = torch.zeros((), device=reps.keys.device)
    return torch.stack(losses).sum(), zero, zero


def _neighbour(reps: Representations, queries: Tensor, hparams: RecipeHparams) -> Tensor:
    """L_no: each query must find its own key among all keys and the sentinel; never hinged."""
    scores = _scores(reps, queries, hparams)
    own = torch.arange(len(queries), device=scores.device)
    return negative_log(scores, own, hparams.eps).mean()


def _own_removed(reps: Representations, queries: Tensor, hparams: RecipeHparams) -> Tensor:
    """L_so: with its own key replaced by the sentinel, each query must find the sentinel."""
    scores = _scores(reps, queries, hparams)
    own = torch.eye(len(queries), dtype=torch.bool, device=scores.device)
    replaced = torch.where(own, scores[:, -1:], scores[:, :-1])  # [b, b]
    return _hinged_mean(replaced, torch.arange(len(queries), device=scores.device), hparams)


def _locality(reps: Representations, hparams: RecipeHparams) -> Tensor:
    """L_so: a locality query must find the sentinel among all keys."""
    scores = _scores(reps, reps.locality, hparams)
    last = torch.full((len(scores),), scores.shape[1] - 1, device=scores.device)
    return _hinged_mean(scores, last, hparams)


def _scores(reps: Representations, queries: Tensor, hparams: RecipeHparams) -> Tensor:
    """Scores [b, b + 1] against all keys, the sentinel last."""
    keys = torch.cat([reps.keys, reps.sentinel])
    return hparams.similarity_factor * similarity(queries, keys, scaled=hparams.sim == "scaled")


def _hinged_mean(scores: Tensor, labels: Tensor, hparams: RecipeHparams) -> Tensor:
    return hinged_nll(scores, labels, hinge=hparams.contrastive_hinge, eps=hparams.eps)
