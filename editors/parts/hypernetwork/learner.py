"""How hypernetworks are trained: one optimiser step on a batch of edits, held-out numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Protocol

import torch
from torch import Tensor, nn

from editors.parts.hypernetwork.examples import Example, MetaBatch, MetaSampler
from editors.parts.hypernetwork.hparams import HypernetworkHparams
from editors.parts.hypernetwork.outer import Shifts, accuracies
from editors.parts.language_model import LanguageModel

_HELD_OUT_SEED = 0  # every checkpoint is judged by the same probes


class Objective(Protocol):
    """An editor's own part of training."""

    @property
    def lm(self) -> LanguageModel:
        """The frozen model."""

    @property
    def network(self) -> nn.Module:
        """The weights to train."""

    @property
    def n_edits(self) -> int:
        """Edits that are made together, as one change of the weights."""

    @property
    def systems_at_once(self) -> int:
        """Systems in one forward."""

    def shifts(self, batch: MetaBatch) -> Shifts:
        """Changes of the weights for the edits of each system."""

    def backward(self, batch: MetaBatch) -> dict[str, float]:
        """Add the gradient of the mean loss over systems; returns `loss` and its terms."""

    def losses(self, batch: MetaBatch, shifts: Shifts) -> tuple[Tensor, Tensor]:
        """(edit loss, locality loss), summed over systems, without their weights."""


class HypernetworkLearner:
    """Changes a hypernetwork step by step; a `Learner` of the training loop.

    A step whose gradient is not finite is counted as `skipped` and changes nothing but the running
    statistics (the originals leave out the example instead).
    """

    def __init__(
        self,
        objective: Objective,
        optimiser: torch.optim.Optimizer,
        hparams: HypernetworkHparams,
        training: Mapping[str, Sequence[Example]],
        held_out: Mapping[str, Sequence[Example]],
        seed: int,
    ) -> None:
        self.objective = objective
        self.optimiser = optimiser
        self.hparams = hparams
        self.held_out = held_out
        self.sampler = MetaSampler(training, seed)

    @property
    def network(self) -> nn.Module:
        """The weights to train."""
        return self.objective.network

    def step(self, iteration: int) -> dict[str, float]:
        """One optimiser step on `batch_size` systems."""
        self.network.train()
        batch = self.sampler.draw(self.hparams.batch_size, self.objective.n_edits)
        self.optimiser.zero_grad()
        numbers = self.objective.backward(batch)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.hparams.max_grad_norm)
        finite = bool(norm.isfinite())
        if finite:
            self.optimiser.step()
        return {**numbers, "gradient_norm": norm.item(), "skipped": float(not finite)}

    def evaluate(self) -> dict[str, float]:
        """Held-out loss (the mean over data sets), and each data set's scores."""
        self.network.eval()
        scores = {name: self._scores(pool) for name, pool in self.held_out.items()}
        loss = fmean(values.pop("loss") for values in scores.values())
        return {"held_out_loss": loss} | {
            f"{name}.{key}": value
            for name, values in scores.items()
            for key, value in values.items()
        }

    def validation(self) -> dict[str, dict[str, float]]:
        """Scores of each data set's held-out examples, each system edited alone."""
        self.network.eval()
        together = self.objective.n_edits
        return {
            name: {"edits": len(pool), "together": together} | self._scores(pool)
            for name, pool in self.held_out.items()
        }

    @torch.no_grad()
    def _scores(self, examples: Sequence[Example]) -> dict[str, float]:
        """Loss and mean token accuracies after editing each system of the pristine model."""
        parts: dict[str, list[float]] = {"reliability": [], "generality": [], "locality": []}
        losses: list[Tensor] = []
        systems = 0
        for batch in self._held_out_batches(examples):
            shifts = self.objective.shifts(batch)
            systems += batch.systems
            for part in batch.micro_batches(self.hparams.micro_batch):
                losses.append(self.hparams.total(*self.objective.losses(part, shifts)))
                for name, shares in accuracies(self.objective.lm, part, shifts).items():
                    parts[name] += shares
        means = {name: fmean(shares) for name, shares in parts.items()}
        return {"loss": float(torch.stack(losses).sum()) / systems} | means

    def _held_out_batches(self, examples: Sequence[Example]) -> Iterator[MetaBatch]:
        """Systems of `n_edits` examples, as many at once as fit; an incomplete last one is left."""
        n_edits = min(self.objective.n_edits, len(examples))
        systems = len(examples) // n_edits
        sampler = MetaSampler({"held_out": examples}, _HELD_OUT_SEED)
        whole = sampler.batch(examples[: systems * n_edits], systems)
        return whole.chunks(self.objective.systems_at_once)

    def draws(self) -> dict[str, Tensor]:
        """State of the sampler."""
        return self.sampler.state_dict()

    def set_draws(self, state: Mapping[str, Tensor]) -> None:
        """Continue where `draws` was taken."""
        self.sampler.load_state_dict(state)
