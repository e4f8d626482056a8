"""The training loop with a learner of one weight: selection, early stopping, resume, divergence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from editors.parts.artefact import read_artefact
from editors.parts.training.loop import LoopSettings, TrainingLoop, trained_artefact

LOSSES = (5.0, 3.0, 4.0, 2.0, 6.0, 1.0)  # held out, at each checkpoint
IDENTITY = {"editor": "toy"}


class Toy:
    """Counts its steps in its only weight."""

    def __init__(self, losses: tuple[float, ...] = LOSSES) -> None:
        self.network = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.network.weight)
        self.optimiser = torch.optim.Adam(self.network.parameters())
        self.losses = list(losses)

    @property
    def count(self) -> int:
        return int(self.network.weight.detach())

    def step(self, iteration: int) -> dict[str, float]:
        assert iteration == self.count
        self.network.weight.data.add_(1)
        return {"loss": float(iteration)}

    def evaluate(self) -> dict[str, float]:
        return {"held_out_loss": self.losses[self.count // 2 - 1]}

    def validation(self) -> dict[str, dict[str, float]]:
        return {"zsre": {"edits": 1, "weight": float(self.count)}}

    def draws(self) -> dict[str, Tensor]:
        return {"drawn": torch.tensor([self.count])}

    def set_draws(self, state: Mapping[str, Tensor]) -> None:
        assert int(state["drawn"]) == self.count


def settings(**changes: Any) -> LoopSettings:
    return LoopSettings(**({"iterations": 12, "checkpoint_interval": 2} | changes))


def train(tmp_path: Path, learner: Toy, **changes: Any) -> dict[str, Any]:
    path = tmp_path / "toy.safetensors"
    trained_artefact(path, IDENTITY, lambda: learner, settings(**changes))
    assert list(tmp_path.iterdir()) == [path]
    weights, header = read_artefact(path)
    assert float(weights["weight"]) == header["selected_iteration"]
    assert header["validation"]["zsre"]["weight"] == header["selected_iteration"]
    return header


@pytest.mark.parametrize(
    ("changes", "selected", "checkpoints"),
    [
        ({}, 12, 6),
        ({"iterations": 11, "checkpoint_interval": 2}, 8, 6),  # the last one, at 11, is no multiple
        ({"selection": "ema"}, 2, 6),  # where the rising loss is smallest
        ({"selection": "ema", "first_selectable": 5}, 6, 6),
        ({"selection": "last", "iterations": 6}, 6, 3),
        ({"patience": 2}, 4, 3),
        ({"patience": 4}, 12, 6),
        ({"patience": 2, "first_selectable": 6}, 8, 5),
    ],
)
def test_the_checkpoint_that_is_selected(
    changes: dict[str, Any], selected: int, checkpoints: int, tmp_path: Path
) -> None:
    header = train(tmp_path, Toy(), **changes)
    assert header["selected_iteration"] == selected
    assert len(header["history"]) == checkpoints
    assert header["editor"] == "toy"


def test_a_loop_killed_after_its_end_does_not_go_on(tmp_path: Path) -> None:
    loop = TrainingLoop(Toy(), settings(patience=2))
    loop.run(tmp_path / "checkpoint", IDENTITY, None)
    again = TrainingLoop(Toy(), settings(patience=2))
    again.run(tmp_path / "checkpoint", IDENTITY, None)
    assert (again.iteration, again.best_iteration) == (loop.iteration, 4)


def test_a_training_without_a_finite_loss_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="diverged: none of its 6 checkpoints has a finite loss"):
        train(tmp_path, Toy((float("nan"),) * 6))
    assert not (tmp_path / "toy.safetensors").exists()
