"""RASE's three contrastive losses (paper section 3; sev777/RASE, its training model)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from editors.parts.rase.hparams import RaseHparams
from editors.parts.rase.network import RaseNetwork
from editors.parts.training.task import floats_of


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


@dataclass(frozen=True)
class Terms:
    """The three losses as scalars."""

    sentences: Tensor
    facts: Tensor
    margin: Tensor

    def total(self) -> Tensor:
        """Their sum, as in the released code."""
        return self.sentences + self.facts + self.margin

    def floats(self) -> dict[str, float]:
        """Plain numbers for a log."""
        return {f"{name}_loss": value for name, value in floats_of(vars(self)).items()}


def rase_terms(network: RaseNetwork, batch: Encoded, hparams: RaseHparams) -> Terms:
    """The losses of one batch; in training mode, dropout makes two views of every text differ."""
    sentences, facts = (
        _views(network.sentences, batch.sentences),
        _views(network.facts, batch.facts),
    )
    scale = 1 / hparams.temperature
    return Terms(
        sentences=group_loss(*sentences, batch.owners, scale),
        facts=_diagonal_loss(facts[0] @ facts[1].T * scale),
        margin=margin_loss(
            sentences[0] @ facts[0].T,
            batch.owners,
            (network.sentences(batch.unrelated) * facts[0][batch.unrelated_owners]).sum(dim=1),
            batch.unrelated_owners,
            margin=hparams.margin,
            scale=scale,
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
    """
    own = functional.one_hot(owners, cosines.shape[1]).to(cosines.dtype)
    elsewhere = owners[:, None] != unrelated_owners[None]  # [n, u]
    rivals = unrelated.expand(len(owners), -1).masked_fill(elsewhere, -torch.inf)
    logits = torch.cat([cosines - margin * own, rivals], dim=1) * scale
    return functional.cross_entropy(logits, owners)


def _views(head: Callable[[Tensor], Tensor], vectors: Tensor) -> tuple[Tensor, Tensor]:
    return head(vectors), head(vectors)


def _diagonal_loss(logits: Tensor) -> Tensor:
    """Cross-entropy of [b, b] logits whose diagonal is right."""
    return functional.cross_entropy(logits, torch.arange(len(logits), device=logits.device))
