"""The training loop of RECIPE: steps, schedule, checkpoints, selection, resume."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from editors.parts.artefact import read_artefact, write_artefact
from editors.parts.randomness import GeneratorScope
from editors.parts.recipe.checkpoint import check_identity, flatten_state, group_of, optimiser_state
from editors.parts.recipe.examples import BatchSampler, Example
from editors.parts.recipe.hparams import RecipeHparams
from editors.parts.recipe.network import RecipeNetwork
from editors.parts.recipe.objective import Objective
from editors.parts.recipe.validation import validation_scores

Progress = Callable[[Mapping[str, float]], None]

_HELD_OUT_SEED = 0  # the held-out loss draws the same probes at every checkpoint


class Trainer:
    """Trains a network in place; `run` ends with the selected weights in `best`.

    All draws come from private generators, so a run that is killed and resumed from its last
    checkpoint ends in the same numbers.
    """

    def __init__(
        self,
        objective: Objective,
        training: Mapping[str, Sequence[Example]],
        held_out: Mapping[str, Sequence[Example]],
        seed: int,
    ) -> None:
        self.objective = objective
        self.held_out = held_out
        self.optimiser = build_optimiser(objective.network, objective.hparams)
        self.sampler = BatchSampler(training, objective.hparams, seed)
        self.dropout = GeneratorScope(seed, objective.lm.device)
        self.iteration = 0
        self.ema = 1.0  # the released code's running loss starts here
        self.best: dict[str, Tensor] = {}
        self.best_loss = float("inf")
        self.best_iteration = 0
        self.history: list[dict[str, float]] = []  # one entry a checkpoint

    @property
    def hparams(self) -> RecipeHparams:
        """The run's hyper-parameters."""
        return self.objective.hparams

    def run(self, checkpoint: Path, identity: Mapping[str, Any], progress: Progress | None) -> None:
        """Train to the last iteration, continuing from `checkpoint` if it exists.

        Raises:
            ValueError: the checkpoint belongs to another run.
        """
        if checkpoint.exists():
            self.load(checkpoint, identity)
        while self.iteration < self.hparams.iterations:
            numbers = self.step()
            if self._at_checkpoint():
                numbers |= self._evaluate()
                self.save(checkpoint, identity)
            if progress is not None:
                progress(numbers)

    def step(self) -> dict[str, float]:
        """One optimiser step; returns iteration, losses and the running loss."""
        network = self.objective.network
        network.train(self.hparams.dropout)
        ramp = ramp_at(self.iteration, self.hparams)
        with self.dropout.active():
            terms = self.objective.terms(
                self.sampler.draw(),
                retrieval=ramp > 0 or self.hparams.schedule != "staged",
                locality=ramp > 0,
            )
        loss = terms.total(self.hparams, ramp)
        for group in self.optimiser.param_groups:
            group["lr"] = group["full_lr"] * rate_factor(self.iteration, self.hparams)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.iteration += 1
        self.ema += (loss.item() - self.ema) / 10  # released code
        return {
            "iteration": self.iteration,
            "iterations": self.hparams.iterations,
            "loss": loss.item(),
            "running_loss": self.ema,
            **terms.floats(),
        }

    def _at_checkpoint(self) -> bool:
        last = self.iteration == self.hparams.iterations
        return last or self.iteration % self.hparams.checkpoint_interval == 0

    def _evaluate(self) -> dict[str, float]:
        """Held-out numbers of the present weights; keeps them if they are the best so far."""
        self.objective.network.eval()
        numbers = {"held_out_loss": self._held_out_loss()}
        for name, examples in self.held_out.items():
            scores = validation_scores(self.objective, examples)
            numbers |= {f"{name}.{key}": value for key, value in scores.items()}
        loss = numbers["held_out_loss"] if self.hparams.selection == "held_out" else self.ema
        if self.iteration >= self.hparams.ramp_end and loss < self.best_loss:
            self.best_loss, self.best_iteration = loss, self.iteration
            self.best = {k: v.clone() for k, v in self.objective.network.state_dict().items()}
        self.history.append({"iteration": self.iteration, "running_loss": self.ema, **numbers})
        return numbers

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

    def save(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Write everything that the rest of the run depends on."""
        draws = {**self.sampler.state_dict(), "dropout": self.dropout.state}
        tensors = flatten_state(
            self.objective.network.state_dict(), self.best, self.optimiser.state_dict(), draws
        )
        header = {
            "identity": identity,
            "iteration": self.iteration,
            "ema": self.ema,
            "best_loss": self.best_loss if self.best else None,
            "best_iteration": self.best_iteration,
            "history": self.history,
        }
        write_artefact(path, tensors, header)

    def load(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Continue the run that `save` wrote.

        Raises:
            ValueError: it was another run, by the first thing that differs.
        """
        tensors, header = read_artefact(path)
        check_identity(path, header["identity"], identity)
        self.objective.network.load_state_dict(group_of(tensors, "network"))
        moments = group_of(tensors, "optimiser")
        self.optimiser.load_state_dict(optimiser_state(moments, self.optimiser))
        draws = group_of(tensors, "draws")
        self.dropout.state = draws.pop("dropout")
        self.sampler.load_state_dict(draws)
        self.best = group_of(tensors, "best")
        self.iteration, self.ema = header["iteration"], header["ema"]
        self.best_loss = float("inf") if header["best_loss"] is None else header["best_loss"]
        self.best_iteration, self.history = header["best_iteration"], header["history"]


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
