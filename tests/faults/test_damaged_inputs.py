"""Models, made data, trained weights and caches that are damaged: refused, or made anew."""

from __future__ import annotations

import json
import random
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bench.checks.contract.tiny import REQUESTS
from bench.cli.main import main
from bench.core.checksums import DamagedFileError, check_model, digest_of_file
from bench.evaluation import caches
from bench.evaluation.caches import CachedEdits
from bench.models import resources
from bench.world import store
from editors import registry
from editors.parts.artefact import artefact_path
from tests.faults.damage import DAMAGES, spoil
from tests.faults.grid import Home, results
from tests.faults.tally import Count, SilentError

pytestmark = pytest.mark.faults


def refused_or_the_same(path: Path, use: Callable[[], object], content: bytes) -> None:
    """Fail where a damaged file is used; one whose damage is beside the point may be."""
    try:
        use()
    except (ValueError, OSError) as error:
        if path.stem not in str(error):
            raise AssertionError(f"{path.stem} is not named: {error}") from error
    else:
        if path.read_bytes() != content:
            raise SilentError(f"{path} was used")


def test_damaged_models(
    home: Home, tally: defaultdict[str, Count], chance: random.Random, tmp_path: Path
) -> None:
    count = tally["corruptions"]
    model = Path(shutil.copytree(home.directory / "tiny", tmp_path / "tiny"))
    files = {path.name: digest_of_file(path) for path in model.iterdir()}
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"models": {"tiny": {"files": files}}}))
    check_model(model, "Do this.")
    for damage in DAMAGES:
        for name in ("model.safetensors", "config.json", "tokenizer.json"):
            content = (model / name).read_bytes()
            spoil(model / name, damage, chance)
            with count.trying(f"{damage.__name__} {name}"), pytest.raises(DamagedFileError):
                check_model(model, "Do this.")
            (model / name).write_bytes(content)
    count.settle(3 * len(DAMAGES))


def test_damaged_data(
    tally: defaultdict[str, Count],
    chance: random.Random,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = tally["corruptions"]
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(tmp_path))
    text = json.dumps([f"row {number}" for number in range(20)])
    monkeypatch.setattr(
        "bench.world.files.write_all", lambda _, part: (part / "made.json").write_text(text)
    )
    folder = store.data_dir()
    for damage in DAMAGES:
        for name in ("made.json", "digests.json"):
            content = (folder / name).read_bytes()
            spoil(folder / name, damage, chance)
            with count.trying(f"{damage.__name__} {name}"), pytest.raises(DamagedFileError):
                store.data_dir()
            (folder / name).write_bytes(content)
    count.settle(2 * len(DAMAGES))


def test_damaged_trained_weights(
    tally: defaultdict[str, Count],
    chance: random.Random,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = tally["corruptions"]
    shipped = artefact_path(store.ASSETS / "artefacts", "r_rome", "mini-llama", [])
    weights = tmp_path / "artefacts" / shipped.name
    weights.parent.mkdir()
    report = weights.with_suffix(".report.json")
    for source, path in ((shipped, weights), (shipped.with_suffix(".report.json"), report)):
        shutil.copy(source, path)
    monkeypatch.setattr(resources, "assets_dir", lambda *_: tmp_path)
    monkeypatch.setattr(resources, "corpus_for", lambda *_, **__: None)
    monkeypatch.setattr(resources, "_encoder", lambda *_: None)
    hparams = registry.hparams_for("r_rome", "mini-llama")
    sound = weights.read_bytes()
    for damage in DAMAGES:
        for path, changed in ((weights, ()), (weights, ("learning_rate",)), (report, ())):
            content = path.read_bytes()
            spoil(path, damage, chance)
            options = resources.SourceOptions(changed=frozenset(changed))
            with count.trying(f"{damage.__name__} {path.name}"):
                refused_or_the_same(
                    weights,
                    lambda options=options: resources.sources_for(  # type: ignore[misc]
                        "r_rome", "mini-llama", hparams, dataset="zsre", options=options
                    ),
                    sound,
                )
            path.write_bytes(content)
    count.settle(3 * len(DAMAGES))


def test_damaged_caches(
    home: Home,
    tally: defaultdict[str, Count],
    chance: random.Random,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = tally["corruptions"]
    cache, editors = tmp_path / "cache", ("rome",)
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(cache))
    assert main(home.arguments(tmp_path / "first", editors)) == 0
    whole = results(tmp_path / "first")
    files = sorted(path for path in cache.rglob("*") if path.is_file())
    kinds = {path.relative_to(cache).parts[0] for path in files}
    assert kinds == {"pristine", "statistics"}
    assert {path.suffix for path in files} == {".jsonl", ".json", ".sha256", ".safetensors"}
    for path in files:
        content = path.read_bytes()
        for damage in DAMAGES:
            spoil(path, damage, chance)
            caches._opened.cache_clear()  # as in a process of its own
            out = tmp_path / f"out-{count.tried}"
            with count.trying(f"{damage.__name__} {path.name}"):
                assert main(home.arguments(out, editors)) == 0
                if results(out) != whole:
                    raise SilentError("other results")
            path.write_bytes(content)
    count.settle(len(files) * len(DAMAGES))


def test_damaged_kept_edits(
    tally: defaultdict[str, Count], chance: random.Random, tmp_path: Path
) -> None:
    count = tally["corruptions"]
    made = {"left": torch.arange(40.0), "right": torch.ones(3, 4)}
    for damage in DAMAGES:
        kept = CachedEdits(tmp_path / damage.__name__)
        for request in REQUESTS[:2]:
            kept.get(request)
            kept.put(request, {name: tensor + len(request.prompt) for name, tensor in made.items()})
        path, other = (kept._path(request) for request in REQUESTS[:2])
        spoil(path, damage, chance, other.read_bytes())
        with count.trying(f"{damage.__name__} kept edit"):
            if kept.get(REQUESTS[0]) is not None:
                raise SilentError("it was read")
    count.settle(len(DAMAGES))
