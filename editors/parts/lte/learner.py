"""How LTE's follower is trained: steps and held-out numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import torch
from torch import Tensor

from editors.parts.lte.examples import LteExample, LteSampler
from editors.parts.lte.follower import FollowerWeights
from editors.parts.lte.hparams import LteHparams
from editors.parts.lte.objective import LteObjective
from editors.parts.lte.validation import Validator

_HELD_OUT_SEED = 0  # the held-out loss draws the same probes at every checkpoint


class LteLearner:
    """Changes a follower step by step; a `Learner` of the training loop.

    The objective's follower is always made anew from the increments, which alone are the state.
    """

    def __init__(
        self,
        network: FollowerWeights,
        objective: LteObjective,
        validator: Validator,
        training: Mapping[str, Sequence[LteExample]],
        held_out: Mapping[str, Sequence[LteExample]],
        hparams: LteHparams,
        seed: int,
    ) -> None:
        self.network = network
        self.objective = objective
        self.validator = validator
        self.held_out = held_out
        self.hparams = hparams
        self.optimiser: torch.optim.Optimizer = torch.optim.Adam(
            network.parameters(), lr=hparams.learning_rate
        )
        self.sampler = LteSampler(training, seed)

    def step(self, iteration: int) -> dict[str, float]:
        """One optimiser step; returns the loss and its terms."""
        self._refresh()
        terms = self.objective.terms(self.sampler.draw(self.hparams.batch_size))
        loss = terms.total(self.hparams)
        loss.backward()
        self.network.take_gradients(self.objective.follower.model)
        for group in self.optimiser.param_groups:
            group["lr"] = self.hparams.learning_rate * rate_factor(iteration, self.hparams)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return {"loss": loss.item(), **terms.floats()}

    def evaluate(self) -> dict[str, float]:
        """Held-out loss, and the scores of each data set."""
        self._refresh()
        numbers = {"held_out_loss": self._held_out_loss()}
        for name, scores in self.validation().items():
            numbers |= {f"{name}.{key}": value for key, value in scores.items()}
        return numbers

    def validation(self) -> dict[str, dict[str, float]]:
        """Scores of each data set's held-out examples, edited all at once."""
        self._refresh()
        return self.validator.scores()

    def draws(self) -> dict[str, Tensor]:
        """State of the sampler."""
        return self.sampler.state_dict()

    def set_draws(self, state: Mapping[str, Tensor]) -> None:
        """Continue where `draws` was taken."""
        self.sampler.load_state_dict(state)

    def _refresh(self) -> None:
        self.network.put_into(self.objective.follower.model, self.objective.pristine.model)

    @torch.no_grad()
    def _held_out_loss(self) -> float:
        """Mean total loss over the held-out examples."""
        size, means = self.hparams.batch_size, []
        for name, examples in self.held_out.items():
            drawn = LteSampler({name: examples}, _HELD_OUT_SEED).probes(examples)
            parts = [drawn[start : start + size] for start in range(0, len(drawn), size)]
            losses = [self.objective.terms(part).total(self.hparams).item() for part in parts]
            totals = [loss * len(part) for loss, part in zip(losses, parts, strict=True)]
            means.append(sum(totals) / len(drawn))
        return fmean(means)


def rate_factor(iteration: int, hparams: LteHparams) -> float:
    """Factor of the learning rate at the step after `iteration` steps."""
    if hparams.learning_rate_decay == "none":
        return 1.0
    return (1 + math.cos(math.pi * iteration / hparams.iterations)) / 2
