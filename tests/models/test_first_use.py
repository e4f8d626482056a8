"""Weights that `run` trains by itself the first time it needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.core.config import RunConfig
from bench.models import resources, training
from bench.models.backbones import locate
from bench.models.training import first_use_directory, trains_on_first_use
from bench.runner import planning
from bench.runner.planning import Planner, points
from bench.world.store import assets_dir
from editors import registry

QUICK = tuple(key for key in registry.available() if trains_on_first_use(key, "mini-llama"))
ENCODER_DIRECTORY = assets_dir(0) / "mini-roberta"


@pytest.fixture(autouse=True)
def nothing_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(resources, "assets_dir", lambda *_: tmp_path / "assets")


def point(editor: str) -> Any:
    (only,) = points(RunConfig(editors=(editor,), datasets=("cf",), edits=(1,), limit=2))
    return only


def train_missing(editor: str, **changes: Any) -> None:
    Planner(RunConfig(**changes)).train_missing([point(editor)])


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Editors whose weights were trained, by name; the files are written without training."""
    trained = []

    def pretend(editor: str, lm: Any, hparams: Any, directory: Path, *_: Any) -> None:
        trained.append(editor)
        directory.mkdir(parents=True)
        (directory / f"{editor}-{lm.name}.safetensors").write_bytes(b"weights")

    monkeypatch.setattr(planning, "train_on_first_use", pretend)
    return trained


def test_missing_weights_are_trained_once(trained: list[str]) -> None:
    Planner(RunConfig()).train_missing([point("mend"), point("mend")])
    train_missing("mend")
    assert trained == ["mend"]
    train_missing("mend", hparams={"mend.mode": "original"})  # it acts in training alone
    assert trained == ["mend", "mend"]


def test_only_quick_trainings_and_on_the_embedded_world(trained: list[str], tmp_path: Path) -> None:
    assert QUICK == ("malmen", "mend", "r_rome")
    for editor in ("ft", "recipe"):  # without weights, and with a training of hours
        train_missing(editor)
    train_missing("mend", data_dir=tmp_path)
    assert not trained
    assert not trains_on_first_use("mend", "some/model")


def test_other_settings_are_other_weights() -> None:
    backbone = locate("mini-llama")
    preset = registry.hparams_for("mend", "mini-llama")
    other = registry.hparams_for("mend", "gpt2-xl")
    assert preset != other
    directories = {
        first_use_directory("mend", backbone, preset, 0, dtype="float32"),
        first_use_directory("mend", backbone, other, 0, dtype="float32"),
        first_use_directory("mend", backbone, preset, 1, dtype="float32"),
        first_use_directory("mend", backbone, preset, 0, dtype="bfloat16"),
    }
    assert len(directories) == 4


def test_all_three_training_sets_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def fake(key: str, lm: Any, samples: Any, hparams: Any, **rest: Any) -> training.Artefact:
        seen.update(key=key, samples=samples, **rest)
        return training.Artefact(path=rest["path"], header={}, seconds=1.0)

    monkeypatch.setattr(training, "train_artefact", fake)
    monkeypatch.setattr(training, "data_dir", lambda _: tmp_path)
    monkeypatch.setattr(training, "training_samples", lambda names, _: dict.fromkeys(names, ()))
    lm = type("Model", (), {"name": "mini-llama"})()
    hparams = registry.hparams_for("mend", "mini-llama")
    training.train_on_first_use("mend", lm, hparams, tmp_path / "to", 0)
    assert list(seen["samples"]) == ["zsre", "counterfact", "ripple_edits"]
    assert seen["path"] == tmp_path / "to" / "mend-mini-llama.safetensors"


@pytest.mark.slow
@pytest.mark.parametrize("editor", QUICK)
def test_they_are_really_trained(
    editor: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A few steps of training, after which the run takes the weights."""
    presets = registry.editor_class(editor).presets
    few = {"iterations": 2, "checkpoint_interval": 1, "held_out": 4, "batch_size": 4}
    short = type(presets["tiny"]).from_dict(presets["mini-llama"].to_dict() | few)
    monkeypatch.setattr(registry.editor_class(editor), "presets", {**presets, "mini-llama": short})
    monkeypatch.setattr(planning, "encoder_of", lambda *_, **__: ENCODER_DIRECTORY)
    monkeypatch.setattr(resources, "encoder_directory", lambda *_, **__: ENCODER_DIRECTORY)
    full = training.training_samples
    monkeypatch.setattr(
        training, "training_samples",
        lambda names, where: {name: samples[:40] for name, samples in full(names, where).items()},
    )  # fmt: skip
    train_missing(editor)
    (artefact,) = (tmp_path / "cache").glob("world-0/artefacts/*/*.safetensors")
    (job,), _ = Planner(RunConfig()).edit_jobs([point(editor)], named=True)
    assert job.sources.artefact == artefact
