"""RECIPE's loss terms, in the released code's form and in the paper's (equations 10-17)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from editors.parts.recipe.hparams import RecipeHparams
from editors.parts.recipe.network import similarity

Reduction = Literal["token_mean", "seq_sum"]


def negative_log(logits: Tensor, labels: Tensor, eps: float) -> Tensor:
    """-log(p(label) + eps) [N] under the softmax of logits [N, V]."""
    if eps == 0:
        return -logits.log_softmax(-1).gather(-1, labels[:, None])[:, 0]
    return -(logits.softmax(-1).gather(-1, labels[:, None])[:, 0] + eps).log()


def contested(logits: Tensor, labels: Tensor, hinge: float | None) -> Tensor:
    """Rows [N] that still need training: p(label) < hinge x the row's second largest probability.

    A row is dropped exactly when its label wins by the factor `hinge`; None keeps all rows. Where
    there is nothing beside the label, it has won.
    """
    if hinge is None:
        return torch.ones_like(labels, dtype=torch.bool)
    if logits.shape[-1] == 1:
        return torch.zeros_like(labels, dtype=torch.bool)
    probabilities = logits.softmax(-1)
    own = probabilities.gather(-1, labels[:, None])[:, 0]
    return own < hinge * probabilities.topk(2, dim=-1).values[:, 1]


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

    `token_mean` divides by the number of kept tokens (released code), `seq_sum` by the number of
    answers, `rows` (paper).
    """
    kept = contested(logits, labels, hinge).to(logits.dtype)
    total = (negative_log(logits, labels, eps) * kept).sum()
    return total / kept.sum().clamp(min=1) if reduction == "token_mean" else total / rows


def kl_divergence(
    reference: Tensor, logits: Tensor, *, reduction: Reduction = "token_mean", rows: int = 1
) -> Tensor:
    """KL(softmax(reference) || softmax(logits)) of [N, V] logits, per token or per answer."""
    reference_log = reference.log_softmax(-1)
    total = (reference_log.exp() * (reference_log - logits.log_softmax(-1))).sum()
    return total / (len(logits) if reduction == "token_mean" else rows)


@dataclass(frozen=True)
class Representations:
    """What the retriever makes of a batch of b samples: [b, d_r] each, the sentinel [1, d_r]."""

    keys: Tensor
    sentinel: Tensor
    reliability: Tensor
    generality: Tensor
    locality: Tensor


@dataclass(frozen=True)
class ContrastiveTerms:
    """Neighbour-oriented term, and sentinel-oriented terms on edit-related and locality queries."""

    neighbour: Tensor
    sentinel_edit: Tensor
    sentinel_locality: Tensor


def contrastive_terms(
    reps: Representations, generality_first: Tensor, hparams: RecipeHparams
) -> ContrastiveTerms:
    """Prompt learning for the retriever (paper section 4.3, equations 13-16).

    Args:
        generality_first: bool [b]. In the released code each sample gives one of its two edit
            queries to the neighbour-oriented term and the other to the sentinel-oriented one;
            True sends the generality query to the former. The paper's form uses both in both.

    Without a sentinel the loss is the plain contrastive one, and locality queries take no part.
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
    return ContrastiveTerms(
        neighbour=torch.stack([neighbour for neighbour, _ in terms]).sum(),
        sentinel_edit=torch.stack([own_removed for _, own_removed in terms]).sum(),
        sentinel_locality=_locality(reps, hparams),
    )


def _plain(reps: Representations, hparams: RecipeHparams) -> ContrastiveTerms:
    """Each edit query must find its own key among the keys alone.

    InfoNCE is our reading: the paper names a plain contrastive loss without a formula.
    """
    own = torch.arange(len(reps.keys), device=reps.keys.device)
    losses = [
        negative_log(_scores(reps, queries, hparams)[:, :-1], own, hparams.eps).mean()
        for queries in (reps.reliability, reps.generality)
    ]
    zero = torch.zeros((), device=reps.keys.device)
    return ContrastiveTerms(torch.stack(losses).sum(), zero, zero)


def _neighbour(reps: Representations, queries: Tensor, hparams: RecipeHparams) -> Tensor:
    """Each query must find its own key among all keys and the sentinel; never hinged."""
    scores = _scores(reps, queries, hparams)
    own = torch.arange(len(queries), device=scores.device)
    return negative_log(scores, own, hparams.eps).mean()


def _own_removed(reps: Representations, queries: Tensor, hparams: RecipeHparams) -> Tensor:
    """With its own key replaced by the sentinel, each query must find the sentinel."""
    scores = _scores(reps, queries, hparams)
    own = torch.eye(len(queries), dtype=torch.bool, device=scores.device)
    replaced = torch.where(own, scores[:, -1:], scores[:, :-1])
    return _hinged_mean(replaced, torch.arange(len(queries), device=scores.device), hparams)


def _locality(reps: Representations, hparams: RecipeHparams) -> Tensor:
    """A locality query must find the sentinel among all keys."""
    scores = _scores(reps, reps.locality, hparams)
    last = torch.full((len(scores),), scores.shape[1] - 1, device=scores.device)
    return _hinged_mean(scores, last, hparams)


def _scores(reps: Representations, queries: Tensor, hparams: RecipeHparams) -> Tensor:
    """Scores [b, b + 1] against all keys, the sentinel last."""
    keys = torch.cat([reps.keys, reps.sentinel])
    return hparams.similarity_factor * similarity(queries, keys, scaled=hparams.sim == "scaled")


def _hinged_mean(scores: Tensor, labels: Tensor, hparams: RecipeHparams) -> Tensor:
    return hinged_nll(scores, labels, hinge=hparams.contrastive_hinge, eps=hparams.eps)
