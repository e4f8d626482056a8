"""One editor's training as a task: the steps that all share, with hooks for what differs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from statistics import fmean
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

HELD_OUT_SEED = 0  # the held-out loss draws the same probes at every checkpoint

PoolT = TypeVar("PoolT")  # held-out examples of one data set


class Draws(Protocol):
    """A sampler whose draws can be saved and continued."""

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None: ...


class TrainingTask(ABC, Generic[PoolT]):
    """A `Learner` of the training loop: Adam on the loss of drawn batches.

    Args:
        network: the weights to train.
        sampler: draws batches.
        held_out: examples by data set, which select a checkpoint and are scored.
        rates: (parameters, learning rate) of Adam, which has PyTorch's defaults otherwise.
        dropout: the stream of dropout's draws; None where there is no dropout.
    """

    logged: ClassVar[tuple[str, ...]]  # held-out scores that the history has of each checkpoint

    def __init__(
        self,
        network: nn.Module,
        sampler: Draws,
        held_out: Mapping[str, PoolT],
        *,
        rates: list[tuple[Any, float]],
        dropout: GeneratorScope | None = None,
    ) -> None:
        self.network = network
        self.held_out = held_out
        self.optimiser: torch.optim.Optimizer = torch.optim.Adam(
            [{"params": parameters, "lr": rate, "full_lr": rate} for parameters, rate in rates]
        )
        self._sampler, self._dropout = sampler, dropout

    @abstractmethod
    def loss(self, iteration: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of the next batch, and its terms for the log, as scalars."""

    @abstractmethod
    def held_out_loss(self, pool: PoolT) -> float:
        """The loss of all held-out examples of a data set."""

    @abstractmethod
    def scores(self, pool: PoolT) -> dict[str, float]:
        """Scores after editing all held-out examples of a data set; `edits` counts them."""

    def rate_factor(self, iteration: int) -> float:
        """Factor of the learning rates at the step after `iteration` steps."""
        return 1.0

    def enter(self, *, training: bool) -> None:
        """Bring the network into the mode of a step, or of an evaluation."""
        self.network.train(training)

    def collect_gradients(self) -> None:
        """Called between the backward and the optimiser's step."""

    def calibrate(self) -> None:
        """Set what belongs to the weights without being trained, before an evaluation."""

    def step(self, iteration: int) -> dict[str, float]:
        """One optimiser step; returns the loss and its terms."""
        self.enter(training=True)
        with nullcontext() if self._dropout is None else self._dropout.active():
            loss, terms = self.loss(iteration)
        for group in self.optimiser.param_groups:
            group["lr"] = group["full_lr"] * self.rate_factor(iteration)
        self.optimiser.zero_grad()
        loss.backward()
        self.collect_gradients()
        self.optimiser.step()
        return {"loss": loss.item(), **floats_of(terms)}

    def evaluate(self) -> dict[str, float]:
        """Held-out loss (the mean over data sets), and each data set's scores."""
        self.enter(training=False)
        self.calibrate()
        numbers = {"held_out_loss": fmean(map(self.held_out_loss, self.held_out.values()))}
        for name, scores in self.validation().items():
            numbers |= {f"{name}.{key}": scores[key] for key in self.logged}
        return numbers

    def validation(self) -> dict[str, dict[str, float]]:
        """Scores of each data set's held-out examples, edited all at once."""
        self.enter(training=False)
        return {name: self.scores(pool) for name, pool in self.held_out.items()}

    def draws(self) -> dict[str, Tensor]:
        """States of the sampler and of dropout."""
        dropout = {} if self._dropout is None else {"dropout": self._dropout.state}
        return self._sampler.state_dict() | dropout

    def set_draws(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `draws` returned."""
        if self._dropout is not None:
            self._dropout.state = state["dropout"]
        self._sampler.load_state_dict(state)


def cosine_decay(turn: float) -> float:
    """Falls from 1 to 0 while `turn` goes from 0 to pi."""
    return (1 + math.cos(turn)) / 2


def floats_of(scalars: Mapping[str, Tensor]) -> dict[str, float]:
    """Plain numbers of scalar tensors; a GPU is waited for once, not once for each."""
    return dict(zip(scalars, torch.stack([*scalars.values()]).tolist(), strict=True))


class GeneratorScope:
    """A private stream for code that can only draw from the global generator, such as dropout.

    Inside `with scope.active():` the global generator of the device continues this stream; outside
    it is untouched. The state can be saved and continued.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.device = device
        self.state = torch.Generator(device).manual_seed(seed).get_state()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Draw from this stream."""
        outside = self._global_state()
        self._set_global_state(self.state)
        try:
            yield
        finally:
            self.state = self._global_state()
            self._set_global_state(outside)

    def _global_state(self) -> Tensor:
        if self.device.type == "cuda":
            return torch.cuda.get_rng_state(self.device)
        return torch.get_rng_state()

    def _set_global_state(self, state: Tensor) -> None:
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state, self.device)
        else:
            torch.set_rng_state(state)
