"""Damaged models, data, weights, caches, records, checkpoints and exports.

They are refused by name or computed again, and never read as data.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.checks.contract.tiny import REQUESTS
from bench.cli.main import main
from bench.core.files import DamagedFileError, check_model, digest_of_file
from bench.core.progress import StoppedEarly
from bench.evaluation import caches
from bench.evaluation.caches import CachedEdits, numerics
from bench.evaluation.context import Context
from bench.evaluation.driver import run_cell
from bench.models import resources
from bench.models.backbones import load, locate
from bench.runner.worker import Worker
from bench.store.reference import reference_records, write_reference
from bench.store.results import OtherSchemaError, ResultStore
from bench.store.running import CheckpointFile
from bench.world import store as world
from editors import registry
from editors.parts.artefact import artefact_path
from tests.conftest import ARCHITECTURES
from tests.faults.grid import EDITS, SilentError, Trial, results, untimed
from tests.support.stopping_checkpointer import StoppingCheckpointer
from tests.support.tiny_files import save_tiny

pytestmark = pytest.mark.faults

FAULTS = "corruptions"
WEIGHTS = "model.safetensors"
CONFIGURATION = [f"{name}.json" for name in ("config", "generation_config", "tokenizer")]
CONFIGURATION += ["tokenizer_config.json"]
OTHER_JSON = (b"[]", b"null", b'"text"', b"{}")

# ---- ways in which a file is damaged ---------------------------------------------------------

Damage = Callable[[random.Random, bytes, bytes], bytes]  # (.., content, another file's)


def _flipped(chance: random.Random, content: bytes, start: int, bits: int) -> bytes:
    changed = bytearray(content)
    changed[chance.randrange(start, len(changed))] ^= 1 << chance.randrange(bits)
    return bytes(changed)


def _not_text(content: bytes, place: int) -> bytes:
    return content[:place] + b"\xff\xfe" + content[place + 2 :]


DAMAGES: dict[str, Damage] = {
    "flipped": lambda chance, content, _: _flipped(chance, content, 0, 8),
    # In the last part, where a tensor's numbers are, and a header is not.
    "flipped late": lambda chance, content, _: _flipped(chance, content, len(content) * 3 // 4, 3),
    "truncated": lambda chance, content, _: content[: chance.randrange(1, len(content))],
    "emptied": lambda chance, content, _: b"",
    "exchanged": lambda chance, _, other: other,
    "scrambled": lambda chance, content, _: chance.randbytes(len(content)),
    # Not UTF-8 in one place.
    "not text": lambda chance, content, _: _not_text(content, chance.randrange(len(content))),
}


def corrupt(path: Path, damage: str, chance: random.Random, other: bytes = b"another\n") -> None:
    """Damage a file, so that its content changes."""
    content = changed = path.read_bytes()
    while changed == content:
        changed = DAMAGES[damage](chance, content, other)
    path.write_bytes(changed)


def corrupted(
    path: Path, chance: random.Random, damages: Sequence[str] = tuple(DAMAGES)
) -> Iterator[str]:
    """Damage a file in each way in turn, with the name of each; the file is restored."""
    content = path.read_bytes()
    for damage in damages:
        corrupt(path, damage, chance)
        yield f"{damage} {path.name}"
        path.write_bytes(content)


# ---- inputs ----------------------------------------------------------------------------------


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
def test_models_without_a_tensor_or_with_another_shape(architecture: str, trial: Trial) -> None:
    directory = save_tiny(architecture, trial.folder / "tiny")
    load(locate(str(directory)))
    tensors = load_file(directory / WEIGHTS)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    facts = {"format": "pt"}
    for name, tensor in tensors.items():
        rest = {other: value for other, value in tensors.items() if other != name}
        with trial.count.trying(f"{architecture} without {name}"):
            save_file(rest, directory / WEIGHTS, facts)
            refused(directory, name)
        larger = torch.zeros([size + 1 for size in tensor.shape])
        with trial.count.trying(f"{architecture} with {name} of another shape"):
            save_file(rest | {name: larger}, directory / WEIGHTS, facts)
            refused(directory, name)
    assert len(tensors) > 20
    trial.count.settle(2 * len(tensors))


def test_models_with_damaged_files(trial: Trial) -> None:
    directory = save_tiny("llama", trial.folder / "tiny")
    damages = [*["truncated"] * 6, "emptied", "scrambled"]
    for fault in corrupted(directory / WEIGHTS, trial.chance, damages):
        with trial.count.trying(fault):
            refused(directory, str(directory))
    for name in CONFIGURATION:
        damages = ["truncated", "emptied", "scrambled", "not text"]
        for fault in corrupted(directory / name, trial.chance, damages):
            with trial.count.trying(fault):
                refused(directory, name, str(directory))
    for name in ("config.json", "tokenizer.json"):
        content = (directory / name).read_bytes()
        for other in OTHER_JSON:
            (directory / name).write_bytes(other)
            with trial.count.trying(f"{name} with {other!r}"):
                refused(directory, name, str(directory))
        (directory / name).write_bytes(content)
    trial.count.settle(8 + 4 * len(CONFIGURATION) + 2 * len(OTHER_JSON))


def test_damaged_files_of_a_shipped_model(trial: Trial) -> None:
    model = Path(shutil.copytree(trial.home.directory / "tiny", trial.folder / "tiny"))
    files = {path.name: digest_of_file(path) for path in model.iterdir()}
    manifest = trial.folder / "manifest.json"
    manifest.write_text(json.dumps({"models": {"tiny": {"files": files}}}))
    check_model(model, "Do this.")
    for name in (WEIGHTS, "config.json", "tokenizer.json"):
        for fault in corrupted(model / name, trial.chance):
            with trial.count.trying(fault), pytest.raises(DamagedFileError):
                check_model(model, "Do this.")
    trial.count.settle(3 * len(DAMAGES))


def test_damaged_data(trial: Trial) -> None:
    trial.patch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(trial.folder))
    text = json.dumps([f"row {number}" for number in range(20)])
    trial.patch.setattr(
        "bench.world.files.write_all", lambda _, part: (part / "rows.json").write_text(text)
    )
    folder = world.data_dir()
    for name in ("rows.json", "digests.json"):
        for fault in corrupted(folder / name, trial.chance):
            with trial.count.trying(fault), pytest.raises(DamagedFileError):
                world.data_dir()
    trial.count.settle(2 * len(DAMAGES))


def test_damaged_trained_weights(trial: Trial) -> None:
    shipped = artefact_path(world.ASSETS / "artefacts", "r_rome", "mini-llama", [])
    weights = trial.folder / "artefacts" / shipped.name
    weights.parent.mkdir()
    report = weights.with_suffix(".report.json")
    for source, path in ((shipped, weights), (shipped.with_suffix(".report.json"), report)):
        shutil.copy(source, path)
    trial.patch.setattr(resources, "assets_dir", lambda *_: trial.folder)
    trial.patch.setattr(resources, "corpus_for", lambda *_, **__: None)
    trial.patch.setattr(resources, "encoder_directory", lambda *_, **__: None)
    hparams = registry.hparams_for("r_rome", "mini-llama")
    sound = weights.read_bytes()
    for path, changed in ((weights, ()), (weights, ("learning_rate",)), (report, ())):
        for fault in corrupted(path, trial.chance):
            with trial.count.trying(fault):
                try:
                    resources.sources_for(
                        "r_rome", "mini-llama", hparams, dataset="zsre", changed=frozenset(changed)
                    )
                except (ValueError, OSError) as error:
                    assert weights.stem in str(error)  # noqa: PT017
                else:  # a damaged report does not matter
                    if weights.read_bytes() != sound:
                        raise SilentError(f"{weights} was used")
    trial.count.settle(3 * len(DAMAGES))


def test_damaged_caches(trial: Trial) -> None:
    cache, editors = trial.folder / "cache", ("rome",)
    trial.patch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(cache))
    assert main(trial.home.arguments(trial.folder / "first", editors)) == 0
    whole = results(trial.folder / "first")
    files = sorted(path for path in cache.rglob("*") if path.is_file())
    assert {path.relative_to(cache).parts[0] for path in files} == {"pristine", "statistics"}
    assert {path.suffix for path in files} == {".jsonl", ".json", ".sha256", ".safetensors"}
    for path in files:
        for fault in corrupted(path, trial.chance):
            caches._opened.cache_clear()  # as in a process of its own
            out = trial.folder / f"out-{trial.count.tried}"
            with trial.count.trying(fault):
                assert main(trial.home.arguments(out, editors)) == 0
                if results(out) != whole:
                    raise SilentError("other results")
    trial.count.settle(len(files) * len(DAMAGES))


def test_damaged_cached_edits(trial: Trial) -> None:
    edit = {"left": torch.arange(40.0), "right": torch.ones(3, 4)}
    for damage in DAMAGES:
        cached = CachedEdits(trial.folder / damage)
        for request in REQUESTS[:2]:
            cached.get(request)
            cached.put(request, {name: value + len(request.prompt) for name, value in edit.items()})
        path, other = (cached._path(request) for request in REQUESTS[:2])
        corrupt(path, damage, trial.chance, other.read_bytes())
        with trial.count.trying(f"{damage} cached edit"):
            if cached.get(REQUESTS[0]) is not None:
                raise SilentError("it was read")
    trial.count.settle(len(DAMAGES))


# ---- stores ----------------------------------------------------------------------------------


def test_damaged_records(trial: Trial) -> None:
    keys = sorted(trial.home.whole)
    for damage in DAMAGES:
        whole = trial.home.directory / "whole"
        store = ResultStore(shutil.copytree(whole, trial.folder / damage))
        key, other = trial.chance.sample(keys, 2)
        corrupt(store.path(key), damage, trial.chance, store.path(other).read_bytes())
        with trial.count.trying(f"{damage} record"):
            trial.printed()
            try:
                assert store.read(key) is None, "it was read"
                message = trial.printed()
            except OtherSchemaError as error:
                message = str(error)
            if str(store.path(key)) not in message:
                raise SilentError(message)
            assert store.read(other) is not None
    trial.count.settle(len(DAMAGES))


def test_damaged_checkpoints(trial: Trial) -> None:
    context, jobs = Context(), trial.home.jobs(("ft", "grace"), EDITS[-1:])
    for number, damage in enumerate(DAMAGES):
        store = ResultStore(trial.folder / damage)
        paths, here = [], numerics(torch.device("cpu"))
        for job in jobs:
            key = job.cell.key()
            file = CheckpointFile(directory=store.checkpoints, key=key, numerics=here)
            with pytest.raises(StoppedEarly):
                run_cell(job, context, StoppingCheckpointer(file, after=2))
            paths.append(file.path)
        job, path = jobs[number % 2], paths[number % 2]
        corrupt(path, damage, trial.chance, paths[1 - number % 2].read_bytes())
        with trial.count.trying(f"{damage} checkpoint"):
            trial.printed()
            assert Worker(store, context=context).run(job).outcome == "done"
            message = trial.printed()
            if untimed(store.path(job.cell.key())) != trial.home.whole[job.cell.key()]:
                raise SilentError(message)
            assert f"The checkpoint {path} " in message
    trial.count.settle(len(DAMAGES))


@pytest.mark.parametrize("name", ["all.jsonl", "all.jsonl.gz"])
def test_damaged_exports(name: str, trial: Trial) -> None:
    path, whole = trial.folder / name, trial.home.whole
    assert main(["results", "export", str(path), "--out", str(trial.home.directory / "whole")]) == 0
    for fault in corrupted(path, trial.chance):
        out = trial.folder / f"out-{fault.partition(' ')[0]}"
        with trial.count.trying(fault):
            trial.printed()
            code = main(["results", "import", str(path), "--out", str(out)])
            printed = trial.printed()
            imported = results(out)
            if code == 0 and imported != whole:  # bytes of a packed file's head do not matter
                raise SilentError(printed)
            assert imported in ({}, whole)
            assert imported or str(path) in printed
    trial.count.settle(len(DAMAGES))


def test_damaged_references(trial: Trial) -> None:
    assert trial.home.whole
    trial.patch.setattr("bench.store.reference.reference_folder", lambda: trial.folder)
    records = list(ResultStore(trial.home.directory / "whole").records())
    path = write_reference(trial.folder / "table1.jsonl", records)
    sound = reference_records("table1")
    for fault in corrupted(path, trial.chance):
        with trial.count.trying(fault):
            try:
                read = reference_records("table1")
            except ValueError as error:
                assert "tables/reference/table1.jsonl" in str(error)  # noqa: PT017
            else:
                if read != sound:
                    raise SilentError("other records were read")
    trial.count.settle(len(DAMAGES))
