"""Weights that `run` trains by itself the first time it needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import artefacts, planning, resources
from bench.artefacts import first_use_directory, trains_on_first_use
from bench.backbones import locate
from bench.grids import Selection, get_table, points
from bench.planning import Settings, train_missing
from editors import registry


@pytest.fixture(autouse=True)
def nothing_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(resources, "assets_dir", lambda _: tmp_path / "assets")


def point(editor: str) -> Any:
    selection = Selection(editors=(editor,), datasets=("cf",), edits=(1,), limit=2)
    (only,) = points(get_table(1), selection)
    return only


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Editors for which weights were asked, which then lie where they belong."""
    asked = []

    def pretend(editor: str, lm: Any, hparams: Any, directory: Path, world_seed: int) -> None:
        asked.append(editor)
        directory.mkdir(parents=True)
        (directory / f"{editor}-{lm.name}.safetensors").write_bytes(b"weights")

    monkeypatch.setattr(planning, "train_on_first_use", pretend)
    return asked


def test_missing_weights_are_trained_once(trained: list[str]) -> None:
    train_missing([point("mend"), point("mend")], Settings())
    train_missing([point("mend")], Settings())
    assert trained == ["mend"]


@pytest.mark.parametrize("editor", ["ft", "recipe"])
def test_others_are_not(editor: str, trained: list[str]) -> None:
    """FT has no weights; RECIPE's take longer than anybody would wait for unasked."""
    train_missing([point(editor)], Settings())
    assert not trained


def test_only_on_the_embedded_world(trained: list[str], tmp_path: Path) -> None:
    train_missing([point("mend")], Settings(data_dir=tmp_path))
    assert not trained
    assert not trains_on_first_use("mend", "some/model")


def test_other_settings_are_other_weights() -> None:
    backbone = locate("mini-llama")
    preset = registry.hparams_for("mend", "mini-llama")
    other = registry.hparams_for("mend", "gpt2-xl")
    assert preset != other
    places = {first_use_directory("mend", backbone, h, 0) for h in (preset, other)}
    places.add(first_use_directory("mend", backbone, preset, 1))
    assert len(places) == 3


def test_all_three_training_sets_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def fake(key: str, lm: Any, samples: Any, hparams: Any, **rest: Any) -> artefacts.Made:
        seen.update(key=key, samples=samples, **rest)
        return artefacts.Made(path=rest["path"], header={}, seconds=1.0)

    monkeypatch.setattr(artefacts, "make_artefact", fake)
    monkeypatch.setattr(artefacts, "data_dir", lambda _: tmp_path)
    monkeypatch.setattr(artefacts, "training_samples", lambda names, _: dict.fromkeys(names, ()))
    lm = type("Model", (), {"name": "mini-llama"})()
    hparams = registry.hparams_for("mend", "mini-llama")
    artefacts.train_on_first_use("mend", lm, hparams, tmp_path / "to", 0)
    assert list(seen["samples"]) == ["zsre", "counterfact", "ripple_edits"]
    assert seen["path"] == tmp_path / "to" / "mend-mini-llama.safetensors"
