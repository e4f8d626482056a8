"""LTE's training loss: follow a fact that is told, and change nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from editors.parts.language_model import LanguageModel
from editors.parts.lte.examples import Drawn, Ids
from editors.parts.lte.hparams import LteHparams
from editors.parts.recipe.losses import kl_divergence
from editors.parts.tokens import TokenBatch, batch_of_ids, pad_id, prompt_ids
from editors.parts.training.numbers import floats_of


@dataclass(frozen=True)
class LteTerms:
    """The loss terms of one batch as scalars."""

    reliability: Tensor
    generality: Tensor
    locality: Tensor

    def total(self, hparams: LteHparams) -> Tensor:
        """Weighted sum."""
        return (
            hparams.weight_reliability * self.reliability
            + hparams.weight_generality * self.generality
            + hparams.weight_locality * self.locality
        )

    def floats(self) -> dict[str, float]:
        """Plain numbers for a log."""
        return floats_of(vars(self))


class LteObjective:
    """Compares a follower with the pristine model that it was copied from."""

    def __init__(self, pristine: LanguageModel, follower: LanguageModel) -> None:
        self.pristine = pristine
        self.follower = follower
        self.leading = len(prompt_ids(pristine.tokenizer, ""))

    def terms(self, drawn: Sequence[Drawn]) -> LteTerms:
        """The loss terms of a batch of b examples: one forward of 4 b rows.

        Reliability and generality are the mean negative log-likelihood of target tokens behind the
        fact; no token of fact or question is taught. Locality is the mean of two divergences from
        the pristine model's answer to the plain question: with the fact in front, and without it.
        """
        b = len(drawn)
        plain = [d.locality.plain for d in drawn]
        rows = [d.example.reliability.behind(d.example.prefix, self.leading) for d in drawn]
        rows += [d.generality.behind(d.example.prefix, self.leading) for d in drawn]
        rows += plain
        rows += [d.locality.behind(d.example.prefix, self.leading) for d in drawn]
        batch = self.batch(rows)
        logits = self.follower.target_logits(batch).float()
        lengths = [len(target) for target in batch.target_ids]
        counts = [sum(lengths[i * b : (i + 1) * b]) for i in range(4)]
        own, asked, alone, told = logits.split(counts)
        own_labels, asked_labels, _, _ = batch.labels.split(counts)
        with torch.no_grad():
            reference = self.pristine.target_logits(self.batch(plain)).float()
        divergence = kl_divergence(reference, alone) + kl_divergence(reference, told)
        return LteTerms(
            reliability=functional.cross_entropy(own, own_labels),
            generality=functional.cross_entropy(asked, asked_labels),
            locality=divergence / 2,
        )

    def batch(self, rows: Sequence[tuple[Ids, Ids]]) -> TokenBatch:
        """Padded batch of (prompt, target) rows."""
        prompts, targets = zip(*rows, strict=True)
        lm = self.pristine
        return batch_of_ids(
            prompts, targets, [""] * len(rows), padding=pad_id(lm.tokenizer), device=lm.device
        )
