"""The training loop: steps, checkpoints, held-out selection, early stopping, resume, artefact."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from editors.parts.artefact import (
    check_identity,
    checkpoint_path,
    read_artefact,
    read_header,
    rounded,
    write_artefact,
)

Progress = Callable[[Mapping[str, float]], None]
Selection = Literal["held_out", "ema", "last"]

SAVED_EVERY = 60.0  # seconds between two saves of an unfinished run, at least; ours,
SHARE = 20  # and so many times as long as a save takes


class Learner(Protocol):
    """What the loop drives: a network and what changes it.

    All its draws come from private generators whose states `draws` returns, so that a run that is
    killed and resumed from its last checkpoint ends in the same numbers.
    """

    @property
    def network(self) -> nn.Module:
        """The weights to train; all of its state is saved."""

    @property
    def optimiser(self) -> torch.optim.Optimizer:
        """The one optimiser; rates that vary are set at each step."""

    def step(self, iteration: int) -> Mapping[str, float]:
        """Change the network; `iteration` counts from 0. Returns numbers, `loss` among them."""

    def evaluate(self) -> Mapping[str, float]:
        """Numbers of the present weights on held-out samples, `held_out_loss` among them."""

    def validation(self) -> dict[str, dict[str, float]]:
        """Held-out scores of the present weights by data set, for the artefact's header."""

    def draws(self) -> dict[str, Tensor]:
        """States of all generators and samplers."""

    def set_draws(self, state: Mapping[str, Tensor]) -> None:
        """Continue the draws from what `draws` returned."""


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """When to evaluate, which checkpoint to select, when to end; all counts are in iterations."""

    iterations: int
    checkpoint_interval: int
    # The selected checkpoint: the one with the smallest loss on held-out samples, with the
    # smallest running loss, or the last one.
    selection: Selection = "held_out"
    first_selectable: int = 0  # earlier checkpoints are never selected
    patience: int | None = None  # ends when no better checkpoint came for that long; None: never


def trained_artefact(
    path: Path,
    identity: Mapping[str, Any],
    make_learner: Callable[[], Learner],
    settings: LoopSettings,
    *,
    dtype: str = "float32",
    progress: Progress | None = None,
) -> Path:
    """Train, and write the selected weights with a header that says where they come from.

    An unfinished run of the same identity, which is everything that the result depends on, is
    continued from where it was last saved beside the artefact, which is each minute and wherever
    `progress`, called after each step, raises; a finished one is left as it is. Weights are rounded
    to `dtype` (`float32` or `float16`) once, before they are validated.

    Raises:
        ValueError: the artefact or checkpoint of another run lies there, or training diverged.
    """
    if path.exists():
        check_identity(path, read_header(path), identity)
        return path
    learner = make_learner()
    loop = TrainingLoop(learner, settings)
    loop.run(checkpoint_path(path), identity, progress)
    best = rounded(loop.best, dtype)
    learner.network.load_state_dict({name: tensor.float() for name, tensor in best.items()})
    course = {
        "selected_iteration": loop.best_iteration,
        "selected_loss": loop.best_loss,
        "history": loop.history,
        "validation": learner.validation(),
    }
    write_artefact(path, best, {**identity, **course})
    checkpoint_path(path).unlink()
    return path


def untrained_artefact(
    path: Path, tensors: Mapping[str, Tensor], identity: Mapping[str, Any], *, dtype: str
) -> Path:
    """Write weights as they are, with a header that says that nothing was trained; `path`."""
    write_artefact(path, rounded(tensors, dtype), {**identity, "untrained": True})
    return path


class TrainingLoop:
    """Trains a learner's network in place; `run` ends with the selected weights in `best`."""

    def __init__(self, learner: Learner, settings: LoopSettings) -> None:
        self.learner = learner
        self.settings = settings
        self.iteration = 0
        self.ema = 1.0  # where RECIPE's released code starts its running loss
        self.best: dict[str, Tensor] = {}
        self.best_loss = float("inf")
        self.best_iteration = 0
        self.history: list[dict[str, float]] = []  # one entry a checkpoint
        self._saved_at, self._saving = time.monotonic(), 0.0

    def run(self, checkpoint: Path, identity: Mapping[str, Any], progress: Progress | None) -> None:
        """Train to the end, continuing from `checkpoint` if it exists.

        Raises:
            ValueError: the checkpoint belongs to another run, or no checkpoint can be selected.
        """
        if checkpoint.exists():
            self.load(checkpoint, identity)
        while not self._ended():
            numbers = self._step()
            evaluated = self._at_checkpoint()
            if evaluated:
                numbers |= self._evaluate()
            if evaluated or self._is_unsaved_for_long():
                self.save(checkpoint, identity)
            try:
                if progress is not None:
                    progress(numbers)
            except BaseException:  # such as a request to stop
                self.save(checkpoint, identity)
                raise
        if not self.best:
            raise ValueError(
                f"The training diverged: none of its {len(self.history)} checkpoints has a finite "
                f"loss. A smaller learning rate may help; {checkpoint} is to be deleted first."
            )

    def _ended(self) -> bool:
        patience = self.settings.patience
        waited = self.iteration - max(self.best_iteration, self.settings.first_selectable)
        return self.iteration >= self.settings.iterations or (
            patience is not None and self._at_checkpoint() and waited >= patience
        )

    def _at_checkpoint(self) -> bool:
        last = self.iteration == self.settings.iterations
        return last or self.iteration % self.settings.checkpoint_interval == 0

    def _is_unsaved_for_long(self) -> bool:
        return time.monotonic() - self._saved_at >= max(SAVED_EVERY, SHARE * self._saving)

    def _step(self) -> dict[str, float]:
        numbers = self.learner.step(self.iteration)
        self.iteration += 1
        self.ema += (numbers["loss"] - self.ema) / 10  # as in RECIPE's released code
        return {
            "iteration": self.iteration,
            "iterations": self.settings.iterations,
            "running_loss": self.ema,
            **numbers,
        }

    def _evaluate(self) -> dict[str, float]:
        """Held-out numbers of the present weights, which are selected if they are the best."""
        numbers = dict(self.learner.evaluate())
        loss = self.ema if self.settings.selection == "ema" else numbers["held_out_loss"]
        better = self.settings.selection == "last" or loss < self.best_loss
        if self.iteration >= self.settings.first_selectable and better:
            self.best_loss, self.best_iteration = loss, self.iteration
            state = self.learner.network.state_dict()
            self.best = {k: v.detach().to("cpu", copy=True) for k, v in state.items()}
        self.history.append({"iteration": self.iteration, "running_loss": self.ema, **numbers})
        return numbers

    def save(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Write everything that the rest of the run depends on."""
        start = time.monotonic()
        moments = {
            f"{index}.{name}": value
            for index, state in self.learner.optimiser.state_dict()["state"].items()
            for name, value in state.items()
        }
        groups: dict[str, Mapping[str, Tensor]] = {
            "network": self.learner.network.state_dict(),
            "best": self.best,
            "optimiser": moments,
            "draws": self.learner.draws(),
        }
        tensors = {
            f"{group}/{name}": tensor
            for group, members in groups.items()
            for name, tensor in members.items()
        }
        header = {
            "identity": identity,
            "iteration": self.iteration,
            "ema": self.ema,
            "best_loss": self.best_loss if self.best else None,
            "best_iteration": self.best_iteration,
            "history": self.history,
        }
        write_artefact(path, tensors, header)
        self._saved_at = time.monotonic()
        self._saving = self._saved_at - start

    def load(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Continue the run that `save` wrote.

        Raises:
            ValueError: it was another run, by the first difference.
        """
        tensors, header = read_artefact(path)
        check_identity(path, header["identity"], identity)
        groups: dict[str, dict[str, Tensor]] = {"best": {}, "draws": {}, "optimiser": {}}
        for key, tensor in tensors.items():
            group, _, name = key.partition("/")
            groups.setdefault(group, {})[name] = tensor
        learner = self.learner
        learner.network.load_state_dict(groups["network"])
        moments: dict[int, dict[str, Tensor]] = {}
        for key, tensor in groups["optimiser"].items():
            index, name = key.split(".")
            moments.setdefault(int(index), {})[name] = tensor
        rates = learner.optimiser.state_dict()["param_groups"]
        learner.optimiser.load_state_dict({"state": moments, "param_groups": rates})
        learner.set_draws(groups["draws"])
        self.best = groups["best"]
        self.iteration, self.ema = header["iteration"], header["ema"]
        self.best_loss = float("inf") if header["best_loss"] is None else header["best_loss"]
        self.best_iteration, self.history = header["best_iteration"], header["history"]
