"""Backbones from names and directories, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.checks.contract.tiny import TINY
from bench.models.backbones import at_directory, check_device, load, locate
from editors.parts.tokens import batch_of
from tests.models.weights.test_import_weights import same_answers
from tests.support.tiny_files import save_tiny

WEIGHTS = "model.safetensors"


def edit_json(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize("architecture", sorted(TINY))
def test_a_directory_loads_as_the_model_it_was_saved_from(
    architecture: str, tmp_path: Path
) -> None:
    directory = save_tiny(architecture, tmp_path / "mine")
    lm = load(locate(str(directory)))
    assert (lm.name, lm.dtype) == ("mine", torch.float32)
    assert same_answers(architecture, directory)


def test_digest_follows_content_and_not_the_place(saved: Path, copy: Path) -> None:
    assert at_directory(copy, name="x").digest == at_directory(saved, name="y").digest
    (copy / "README.md").write_text("notes")
    assert at_directory(copy, name="x").digest == at_directory(saved, name="x").digest
    edit_json(copy / "config.json", lambda config: config.update(rms_norm_eps=1.0))
    assert at_directory(copy, name="x").digest != at_directory(saved, name="x").digest


def test_a_device_map_loads_the_same_model_if_it_fits(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, mapped = load(locate(str(saved))), load(locate(str(saved)), device_map="auto")
    batch = batch_of(plain.tokenizer, [("Ina is", "at home")], device=torch.device("cpu"))
    logits = mapped.target_logits(batch)
    assert logits.device == batch.input_ids.device
    torch.testing.assert_close(logits.cpu(), plain.target_logits(batch), atol=1e-4, rtol=1e-4)
    monkeypatch.setattr(torch.nn.Parameter, "is_meta", property(lambda _: True))
    with pytest.raises(ValueError, match="does not fit"):  # it would be offloaded
        load(locate(str(saved)), device_map="auto")


def test_dtype(saved: Path) -> None:
    assert load(locate(str(saved)), dtype="bfloat16").dtype == torch.bfloat16
    with pytest.raises(ValueError, match="'float32'"):
        load(locate(str(saved)), dtype="float23")


@pytest.mark.parametrize(
    ("name", "named"),
    [("mini-lama", "'mini-llama'"), ("gpt2-xl", "--preset paper"), ("./nowhere", "./nowhere")],
)
def test_unknown_names(name: str, named: str) -> None:
    with pytest.raises((ValueError, OSError), match=named):
        locate(name)


def test_a_hub_that_cannot_be_reached_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(OSError, match="openai-community/gpt2-xl") as error:
        locate("gpt2-xl", hub=True)
    assert "\n" not in str(error.value)


def config(text: str | None) -> Callable[[Path], object]:
    """Writes another configuration, or removes it."""

    def damage(directory: Path) -> None:
        (directory / "config.json").unlink()
        if text is not None:
            (directory / "config.json").write_text(text)

    return damage


def entry(file: str, **values: object) -> Callable[[Path], None]:
    return lambda directory: edit_json(directory / file, lambda config: config.update(values))


def index(file: str) -> Callable[[Path], object]:
    text = json.dumps({"metadata": {}, "weight_map": {"model.norm.weight": file}})
    return lambda directory: (directory / "model.safetensors.index.json").write_text(text)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (
            lambda path: (path / WEIGHTS).rename(path / "pytorch_model.bin"),
            r"pytorch_model\.bin.*python -m bench import-weights",
        ),
        (config(None), r"No config\.json"),
        (config("{"), r"config\.json is not valid JSON"),
        (config("[]"), "got list"),
        (entry("config.json", model_type="bert"), "'bert'"),
        (entry("config.json", auto_map={"AutoModel": "x.Y"}), "auto_map.*import-weights FILE"),
        (config('{"model_type": "gpt2", "trust_remote_code": true}'), "trust_remote_code"),
        (entry("tokenizer_config.json", auto_map={"AutoTokenizer": ["x.Y"]}), "auto_map"),
        (index("../elsewhere/model.safetensors"), "which is a path"),
        (index("other.safetensors"), r"other\.safetensors"),
    ],
)
def test_directories_that_are_refused_before_loading(
    copy: Path, damage: Callable[[Path], object], named: str
) -> None:
    damage(copy)
    with pytest.raises((ValueError, OSError), match=named):
        locate(str(copy))


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="'gpu'"):
        check_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="'cuda'"):
        check_device("cuda")


LAST_NORM = "model.layers.2.input_layernorm.weight"


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        tensors = load_file(directory / WEIGHTS)
        change(tensors)
        save_file(tensors, directory / WEIGHTS, metadata={"format": "pt"})

    return damage


def empty_vocabulary(directory: Path) -> None:
    path = directory / "tokenizer.json"
    edit_json(path, lambda t: t["model"].update(vocab={"<s>": 1}, merges=[]))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (empty_vocabulary, "embedding rows"),
        (
            lambda path: (path / WEIGHTS).write_bytes((path / WEIGHTS).read_bytes()[:-100]),
            "safetensors",
        ),
        (weights(lambda t: t.pop(LAST_NORM)), rf"lack .*{LAST_NORM}"),
        (
            weights(lambda t: t.update({LAST_NORM: torch.zeros(5)})),
            rf"{LAST_NORM} .*\(5,\).*\(16,\)",
        ),
    ],
)
def test_files_that_do_not_fit_are_one_sentence(
    copy: Path, damage: Callable[[Path], object], sentence: str
) -> None:
    damage(copy)
    with pytest.raises(ValueError, match=sentence) as error:
        load(locate(str(copy)))
    assert "\n" not in str(error.value)


def test_a_snapshot_of_the_hub_has_the_name_of_its_repository(tmp_path: Path) -> None:
    place = tmp_path / "models--owner--tiny-llama" / "snapshots" / "0123456789abcdef"
    save_tiny("llama", place)
    assert locate(str(place)).name == "tiny-llama"
