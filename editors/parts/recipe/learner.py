"""How a RECIPE network is trained: steps, schedule, held-out numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from editors.parts.randomness import GeneratorScope
from editors.parts.recipe.calibration import calibrated_threshold
from editors.parts.recipe.examples import BatchSampler, Example
from editors.parts.recipe.hparams import RecipeHparams
from editors.parts.recipe.network import RecipeNetwork
from editors.parts.recipe.objective import Objective
from editors.parts.recipe.validation import validation_scores

_HELD_OUT_SEED = 0  # the held-out loss draws the same probes at every checkpoint


class RecipeLearner:
    """Changes a RECIPE network step by step; a `Learner` of the training loop."""

    def __init__(
        self,
        objective: Objective,
        training: Mapping[str, Sequence[Example]],
        held_out: Mapping[str, Sequence[Example]],
        seed: int,
    ) -> None:
        self.objective = objective
        self.held_out = held_out
        self.calibrating = {
            name: pool[: objective.hparams.calibration] for name, pool in training.items()
        }
        self.optimiser: torch.optim.Optimizer = build_optimiser(objective.network, self.hparams)
        self.sampler = BatchSampler(training, self.hparams, seed)
        self.dropout = GeneratorScope(seed, objective.lm.device)

    @property
    def hparams(self) -> RecipeHparams:
        """The run's hyper-parameters."""
        return self.objective.hparams

    @property
    def network(self) -> RecipeNetwork:
        """The weights to train."""
        return self.objective.network

    def step(self, iteration: int) -> dict[str, float]:
        """One optimiser step; returns the loss and its terms."""
        self.network.train(self.hparams.dropout)
        ramp = ramp_at(iteration, self.hparams)
        with self.dropout.active():
            terms = self.objective.terms(
                self.sampler.draw(),
                retrieval=ramp > 0 or self.hparams.schedule != "staged",
                locality=ramp > 0,
            )
        loss = terms.total(self.hparams, ramp)
        for group in self.optimiser.param_groups:
            group["lr"] = group["full_lr"] * rate_factor(iteration, self.hparams)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.item(), **terms.floats()}

    def evaluate(self) -> dict[str, float]:
        """Held-out loss, and the scores of each data set, behind a threshold chosen anew."""
        self.network.eval()
        if self.network.threshold is not None:
            self.network.threshold.fill_(calibrated_threshold(self.objective, self.calibrating))
        numbers = {"held_out_loss": self._held_out_loss()}
        for name, examples in self.held_out.items():
            scores = validation_scores(self.objective, examples)
            numbers |= {f"{name}.{key}": value for key, value in scores.items()}
        return numbers

    def validation(self) -> dict[str, dict[str, float]]:
        """Scores of each data set's held-out examples, edited all at once."""
        self.network.eval()
        return {
            name: {"edits": len(pool)} | validation_scores(self.objective, pool)
            for name, pool in self.held_out.items()
        }

    def draws(self) -> dict[str, Tensor]:
        """States of the sampler and of dropout."""
        return {**self.sampler.state_dict(), "dropout": self.dropout.state}

    def set_draws(self, state: Mapping[str, Tensor]) -> None:
        """Continue where `draws` was taken."""
        self.dropout.state = state["dropout"]
        self.sampler.load_state_dict(state)

    @torch.no_grad()
    def _held_out_loss(self) -> float:
        """Mean total loss over the held-out examples, all terms at full weight."""
        size = self.hparams.batch_size
        means = []
        for name, examples in self.held_out.items():
            sampler = BatchSampler({name: examples}, self.hparams, _HELD_OUT_SEED)
            totals = []
            for start in range(0, len(examples), size):
                batch = sampler.batch(examples[start : start + size])
                total = self.objective.terms(batch).total(self.hparams)
                totals.append(total.item() * len(batch))
            means.append(sum(totals) / len(examples))
        return fmean(means)


def build_optimiser(network: RecipeNetwork, hparams: RecipeHparams) -> torch.optim.Adam:
    """Adam with PyTorch's defaults; the prompt MLP may have a rate of its own."""
    rate, prompt_rate = hparams.learning_rate, hparams.prompt_learning_rate
    others = [p for name, p in network.named_parameters() if not name.startswith("mlp_p.")]
    prompt_rate = rate if prompt_rate is None else prompt_rate
    groups: list[dict[str, Any]] = [
        {"params": others, "lr": rate, "full_lr": rate},
        {"params": network.mlp_p.parameters(), "lr": prompt_rate, "full_lr": prompt_rate},
    ]
    return torch.optim.Adam(groups)


def rate_factor(iteration: int, hparams: RecipeHparams) -> float:
    """Factor of the learning rates at the step after `iteration` steps."""
    if hparams.learning_rate_decay == "none":
        return 1.0
    return (1 + math.cos(math.pi * iteration / hparams.iterations)) / 2


def ramp_at(iteration: int, hparams: RecipeHparams) -> float:
    """Factor of the held-back terms at the step after `iteration` steps."""
    if hparams.schedule == "joint" or iteration >= hparams.ramp_end:
        return 1.0
    if iteration < hparams.ramp_start:
        return 0.0
    return (iteration - hparams.ramp_start + 1) / (hparams.ramp_end - hparams.ramp_start + 1)
