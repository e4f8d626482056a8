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
    tmp_path.mkdir(exist_ok=True)
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


class Stopped(BaseException):
    """A request to stop."""


@pytest.mark.parametrize("step", [1, 2, 5, 12])
def test_a_run_that_is_stopped_after_any_step_continues_there(step: int, tmp_path: Path) -> None:
    path, learner = tmp_path / "toy.safetensors", Toy()

    def stop(numbers: Mapping[str, float]) -> None:
        if numbers["iteration"] == step:
            raise Stopped

    with pytest.raises(Stopped):
        trained_artefact(path, IDENTITY, lambda: learner, settings(), progress=stop)
    again, steps = Toy(), []
    trained_artefact(
        path, IDENTITY, lambda: again, settings(), progress=lambda n: steps.append(n["iteration"])
    )
    assert steps == [*range(step + 1, 13)]
    assert read_artefact(path)[1] == train(tmp_path / "whole", Toy())


def test_a_run_is_saved_each_minute_and_rarely_where_saving_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, saved = [0.0], []
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    learner = Toy()
    loop = TrainingLoop(learner, settings(checkpoint_interval=12))
    write = loop.save

    def save(path: Path, identity: Mapping[str, Any]) -> None:
        saved.append(loop.iteration)
        write(path, identity)
        loop._saving = 4.0 if loop.iteration > 4 else 0.0  # twenty times this is 80 s

    monkeypatch.setattr(loop, "save", save)
    learner.losses = [1.0] * 6

    def pass_time(_: Mapping[str, float]) -> None:
        now[0] += 35.0

    loop.run(tmp_path / "checkpoint", IDENTITY, pass_time)
    assert saved == [3, 5, 8, 11, 12]


def test_a_training_without_a_finite_loss_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="diverged: none of its 6 checkpoints has a finite loss"):
        train(tmp_path, Toy((float("nan"),) * 6))
    assert not (tmp_path / "toy.safetensors").exists()
