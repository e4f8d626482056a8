"""RECIPE's training loss on one batch: retrieval, prompts, frozen language model, six terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editors.parts.encoder import TextBatcher
from editors.parts.language_model import LanguageModel
from editors.parts.prefix import prefixed
from editors.parts.recipe.examples import Ids, RecipeBatch
from editors.parts.recipe.hparams import RecipeHparams
from editors.parts.recipe.losses import (
    ContrastiveTerms,
    Representations,
    contrastive_terms,
    hinged_nll,
    kl_divergence,
)
from editors.parts.recipe.network import RecipeNetwork
from editors.parts.tokens import TokenBatch, batch_of_ids, pad_id
from editors.parts.training.numbers import floats_of


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
        """Weighted sum; `ramp` scales the terms that the schedule holds back."""
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

    def floats(self) -> dict[str, float]:
        """Plain numbers for a log."""
        return floats_of(vars(self))


class Objective:
    """Computes loss terms for batches; holds what stays the same between them."""

    def __init__(
        self,
        lm: LanguageModel,
        network: RecipeNetwork,
        batcher: TextBatcher,
        hparams: RecipeHparams,
    ) -> None:
        self.lm = lm
        self.network = network
        self.batcher = batcher
        self.hparams = hparams

    def terms(self, batch: RecipeBatch, *, retrieval: bool = True, locality: bool = True) -> Terms:
        """The loss terms of a batch: the editing terms, and what else is asked for.

        The gradient reaches the network through the prompts and the scores; the language model is
        frozen. One encoder and one language model forward each, plus the reference without
        prompts, and the head only where targets are predicted.
        """
        zero = torch.zeros((), device=self.lm.device)
        contrastive = ContrastiveTerms(zero, zero, zero)
        if retrieval:
            reps = self._representations(batch)
            first = torch.tensor(batch.generality_first, device=self.lm.device)
            contrastive = contrastive_terms(reps, first, self.hparams)
            keys = reps.keys
        else:
            keys = self.network.knowledge(self._pooled(batch.knowledge))
        answers = self._answers(batch, self.network.prompts(keys), 3 if locality else 2)
        return Terms(
            reliability=self._nll(*answers[0], len(batch)),
            generality=self._nll(*answers[1], len(batch)),
            locality=self._kl(batch, answers[2][0]) if locality else zero,
            neighbour=contrastive.neighbour,
            sentinel_edit=contrastive.sentinel_edit,
            sentinel_locality=contrastive.sentinel_locality,
        )

    def _pooled(self, rows: Sequence[Ids]) -> Tensor:
        return self.network.pooled(*self.batcher.pad(rows, self.lm.device))

    def _representations(self, batch: RecipeBatch) -> Representations:
        size = len(batch)
        pooled = self._pooled([*batch.knowledge, *batch.queries])
        reliability, generality, locality = self.network.queries(pooled[size:]).split(size)
        return Representations(
            keys=self.network.knowledge(pooled[:size]),
            sentinel=self.network.sentinel_key(),
            reliability=reliability,
            generality=generality,
            locality=locality,
        )

    def _answers(
        self, batch: RecipeBatch, prompts: Tensor, parts: int
    ) -> list[tuple[Tensor, Tensor]]:
        """(logits [N, V], labels [N]) of the first `parts` thirds of the rows, with prompts."""
        size = len(batch)
        tokens = self.tokens(batch.rows[: parts * size])
        hits = torch.ones(len(tokens), dtype=torch.bool, device=self.lm.device)
        with prefixed(
            self.lm,
            prompts.repeat(parts, 1, 1),
            hits,
            inject=self.hparams.inject,
            positions=self.hparams.positions,
        ):
            logits = self.lm.target_logits(tokens).float()
        lengths = [len(target) for _, target in batch.rows]
        counts = [sum(lengths[i * size : (i + 1) * size]) for i in range(parts)]
        return list(zip(logits.split(counts), tokens.labels.split(counts), strict=True))

    def tokens(self, rows: Sequence[tuple[Ids, Ids]]) -> TokenBatch:
        """Padded language model batch of (prompt, target) rows."""
        prompts, targets = zip(*rows, strict=True)
        padding = pad_id(self.lm.tokenizer)
        texts = [""] * len(rows)
        return batch_of_ids(prompts, targets, texts, padding=padding, device=self.lm.device)

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
            plain = self.lm.target_logits(self.tokens(batch.rows[2 * len(batch) :])).float()
        return kl_divergence(plain, logits, reduction=self.hparams.kl, rows=len(batch))
