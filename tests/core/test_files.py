"""Damaged files of models, generated data and trained weights are named before any computing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.core.files import DamagedFileError, check_model, check_trained, digest_of_file
from bench.models import resources
from bench.world import store
from editors import registry
from editors.parts.artefact import artefact_path


def flip(path: Path, place: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def model(folder: Path) -> Path:
    directory = folder / "mini"
    directory.mkdir()
    (directory / "model.safetensors").write_bytes(b"weights")
    (directory / "config.json").write_text("{}")
    files = {path.name: digest_of_file(path) for path in directory.iterdir()}
    (folder / "manifest.json").write_text(json.dumps({"models": {"mini": {"files": files}}}))
    return directory


def test_a_model_as_it_was_written_passes_and_one_without_a_manifest_is_not_checked(
    tmp_path: Path,
) -> None:
    directory = model(tmp_path)
    check_model(directory, "Do this.")
    flip(directory / "config.json")
    (tmp_path / "manifest.json").unlink()
    check_model(directory, "Do this.")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda d: flip(d / "model.safetensors"), r"model\.safetensors is damaged: .* Do this\."),
        (lambda d: (d / "config.json").write_text(""), r"config\.json is damaged"),
        (lambda d: (d / "config.json").unlink(), r"config\.json is missing, .* Do this\."),
        (lambda d: (d.parent / "manifest.json").write_text("{"), "it is no JSON text"),
        (lambda d: (d.parent / "manifest.json").write_bytes(b"\xff"), "it is no JSON text"),
        (lambda d: (d.parent / "manifest.json").write_text("[]"), "it holds no JSON object"),
    ],
)
def test_a_damaged_model_is_named(
    damage: Callable[[Path], object], sentence: str, tmp_path: Path
) -> None:
    directory = model(tmp_path)
    damage(directory)
    with pytest.raises(DamagedFileError, match=sentence):
        check_model(directory, "Do this.")


def test_trained_weights_are_compared_with_their_report(tmp_path: Path) -> None:
    path = tmp_path / "ft-mini.safetensors"
    path.write_bytes(b"weights")
    check_trained(path, "Do this.")  # nothing records what they were
    report = {"artefact": {"file": path.name, "sha256": digest_of_file(path)}}
    path.with_suffix(".report.json").write_text(json.dumps(report))
    check_trained(path, "Do this.")
    flip(path)
    with pytest.raises(DamagedFileError, match=r"ft-mini\.safetensors is damaged: .* Do this\."):
        check_trained(path, "Do this.")


def test_shipped_weights_of_an_editor_are_checked_where_they_are_located(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = artefact_path(store.ASSETS / "artefacts", "recipe", "mini-llama", [])
    here = tmp_path / "artefacts" / shipped.name
    here.parent.mkdir()
    here.write_bytes(shipped.read_bytes())
    report = shipped.with_suffix(".report.json")
    (here.parent / report.name).write_bytes(report.read_bytes())
    monkeypatch.setattr(resources, "assets_dir", lambda *_: tmp_path)
    hparams = registry.hparams_for("recipe", "mini-llama")
    assert resources.sources_for("recipe", "mini-llama", hparams, dataset="zsre").artefact == here
    flip(here)
    with pytest.raises(DamagedFileError, match="train it again"):
        resources.sources_for("recipe", "mini-llama", hparams, dataset="zsre")


def test_a_damaged_file_of_a_generated_world_ends_a_run_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(
        "bench.world.files.write_all", lambda _, part: (part / "generated.json").write_text("[]")
    )
    generated = store.data_dir() / "generated.json"
    assert store.data_dir() == generated.parent
    generated.write_text("[ ]")
    out = tmp_path / "out"
    command = ["run", "--table", "1", "--editors", "ft", "--edits", "1", "--out", str(out)]
    assert main(command) == 2
    assert "generated.json is damaged: its sha256 is not the one in" in capsys.readouterr().err
    assert not out.exists()
