"""Damaged models, data, trained weights and caches: refused by name, or computed again."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.checks.contract.tiny import REQUESTS
from bench.cli.main import main
from bench.core.files import DamagedFileError, check_model, digest_of_file
from bench.evaluation import caches
from bench.evaluation.caches import CachedEdits
from bench.models import resources
from bench.models.backbones import load, locate
from bench.world import store
from editors import registry
from editors.parts.artefact import artefact_path
from tests.conftest import ARCHITECTURES
from tests.faults.damage import (
    DAMAGES,
    corrupt,
    corrupted,
    emptied,
    not_text,
    scrambled,
    truncated,
)
from tests.faults.grid import Home, results
from tests.faults.tally import Count, SilentError
from tests.support.tiny_files import save_tiny

pytestmark = pytest.mark.faults

FAULTS = "corruptions"
WEIGHTS = "model.safetensors"
CONFIGURATION = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)
OTHER_JSON = (b"[]", b"null", b'"text"', b"{}")


def refused(directory: Path, *names: str) -> None:
    """Fail unless loading a model ends in one sentence with one of some names."""
    try:
        load(locate(str(directory)))
    except (ValueError, OSError) as error:
        message = str(error)
        assert any(name in message for name in names), message
        assert "\n" not in message.strip(), message
    else:
        raise AssertionError("it was loaded")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_models_without_a_tensor_or_with_another_shape(
    architecture: str, count: Count, tmp_path: Path
) -> None:
    directory = save_tiny(architecture, tmp_path / "tiny")
    load(locate(str(directory)))
    tensors = load_file(directory / WEIGHTS)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    facts = {"format": "pt"}
    for name, tensor in tensors.items():
        rest = {other: value for other, value in tensors.items() if other != name}
        with count.trying(f"{architecture} without {name}"):
            save_file(rest, directory / WEIGHTS, facts)
            refused(directory, name)
        larger = torch.zeros([size + 1 for size in tensor.shape])
        with count.trying(f"{architecture} with {name} of another shape"):
            save_file(rest | {name: larger}, directory / WEIGHTS, facts)
            refused(directory, name)
    assert len(tensors) > 20
    count.settle(2 * len(tensors))


def test_models_with_damaged_files(count: Count, chance: random.Random, tmp_path: Path) -> None:
    directory = save_tiny("llama", tmp_path / "tiny")
    for fault in corrupted(directory / WEIGHTS, chance, (*[truncated] * 6, emptied, scrambled)):
        with count.trying(fault):
            refused(directory, str(directory))
    for name in CONFIGURATION:
        damages = (truncated, emptied, scrambled, not_text)
        for fault in corrupted(directory / name, chance, damages):
            with count.trying(fault):
                refused(directory, name, str(directory))
    for name in ("config.json", "tokenizer.json"):
        content = (directory / name).read_bytes()
        for other in OTHER_JSON:
            (directory / name).write_bytes(other)
            with count.trying(f"{name} with {other!r}"):
                refused(directory, name, str(directory))
        (directory / name).write_bytes(content)
    count.settle(8 + 4 * len(CONFIGURATION) + 2 * len(OTHER_JSON))


def test_damaged_files_of_a_shipped_model(
    home: Home, count: Count, chance: random.Random, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(home.directory / "tiny", tmp_path / "tiny"))
    files = {path.name: digest_of_file(path) for path in model.iterdir()}
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"models": {"tiny": {"files": files}}}))
    check_model(model, "Do this.")
    for name in (WEIGHTS, "config.json", "tokenizer.json"):
        for fault in corrupted(model / name, chance):
            with count.trying(fault), pytest.raises(DamagedFileError):
                check_model(model, "Do this.")
    count.settle(3 * len(DAMAGES))


def test_damaged_data(
    count: Count, chance: random.Random, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(tmp_path))
    text = json.dumps([f"row {number}" for number in range(20)])
    monkeypatch.setattr(
        "bench.world.files.write_all", lambda _, part: (part / "rows.json").write_text(text)
    )
    folder = store.data_dir()
    for name in ("rows.json", "digests.json"):
        for fault in corrupted(folder / name, chance):
            with count.trying(fault), pytest.raises(DamagedFileError):
                store.data_dir()
    count.settle(2 * len(DAMAGES))


def test_damaged_trained_weights(
    count: Count, chance: random.Random, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = artefact_path(store.ASSETS / "artefacts", "r_rome", "mini-llama", [])
    weights = tmp_path / "artefacts" / shipped.name
    weights.parent.mkdir()
    report = weights.with_suffix(".report.json")
    for source, path in ((shipped, weights), (shipped.with_suffix(".report.json"), report)):
        shutil.copy(source, path)
    monkeypatch.setattr(resources, "assets_dir", lambda *_: tmp_path)
    monkeypatch.setattr(resources, "corpus_for", lambda *_, **__: None)
    monkeypatch.setattr(resources, "encoder_directory", lambda *_, **__: None)
    hparams = registry.hparams_for("r_rome", "mini-llama")
    sound = weights.read_bytes()
    for path, changed in ((weights, ()), (weights, ("learning_rate",)), (report, ())):
        for fault in corrupted(path, chance):
            with count.trying(fault):
                try:
                    resources.sources_for(
                        "r_rome", "mini-llama", hparams, dataset="zsre", changed=frozenset(changed)
                    )
                except (ValueError, OSError) as error:
                    assert weights.stem in str(error)  # noqa: PT017
                else:  # a damaged report does not matter
                    if weights.read_bytes() != sound:
                        raise SilentError(f"{weights} was used")
    count.settle(3 * len(DAMAGES))


def test_damaged_caches(
    home: Home,
    count: Count,
    chance: random.Random,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache, editors = tmp_path / "cache", ("rome",)
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(cache))
    assert main(home.arguments(tmp_path / "first", editors)) == 0
    whole = results(tmp_path / "first")
    files = sorted(path for path in cache.rglob("*") if path.is_file())
    assert {path.relative_to(cache).parts[0] for path in files} == {"pristine", "statistics"}
    assert {path.suffix for path in files} == {".jsonl", ".json", ".sha256", ".safetensors"}
    for path in files:
        for fault in corrupted(path, chance):
            caches._opened.cache_clear()  # as in a process of its own
            out = tmp_path / f"out-{count.tried}"
            with count.trying(fault):
                assert main(home.arguments(out, editors)) == 0
                if results(out) != whole:
                    raise SilentError("other results")
    count.settle(len(files) * len(DAMAGES))


def test_damaged_cached_edits(count: Count, chance: random.Random, tmp_path: Path) -> None:
    edit = {"left": torch.arange(40.0), "right": torch.ones(3, 4)}
    for damage in DAMAGES:
        cached = CachedEdits(tmp_path / damage.__name__)
        for request in REQUESTS[:2]:
            cached.get(request)
            cached.put(request, {name: value + len(request.prompt) for name, value in edit.items()})
        path, other = (cached._path(request) for request in REQUESTS[:2])
        corrupt(path, damage, chance, other.read_bytes())
        with count.trying(f"{damage.__name__} cached edit"):
            if cached.get(REQUESTS[0]) is not None:
                raise SilentError("it was read")
    count.settle(len(DAMAGES))
