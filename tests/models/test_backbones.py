from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.checks.contract.tiny import TINY
from bench.models.backbones import at_directory, check_device, load, locate
from editors.parts.tokens import batch_of
from tests.support.saved_models import save_tiny


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("llama", tmp_path_factory.mktemp("models") / "my-llama")


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def edit_json(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize("architecture", sorted(TINY))
def test_a_directory_loads_as_the_model_it_was_saved_from(
    architecture: str, tmp_path: Path
) -> None:
    original = TINY[architecture]()
    directory = save_tiny(architecture, tmp_path / "mine")
    lm = load(locate(str(directory)))
    assert (lm.name, lm.dtype) == ("mine", torch.float32)
    batch = batch_of(lm.tokenizer, [("Ina is", "at home")], device=lm.device)
    assert torch.equal(lm.target_logits(batch), original.target_logits(batch))


def test_digest_follows_content_and_not_the_place(saved: Path, copy: Path) -> None:
    assert at_directory(copy, name="x").digest == at_directory(saved, name="y").digest
    (copy / "README.md").write_text("notes")
    assert at_directory(copy, name="x").digest == at_directory(saved, name="x").digest
    edit_json(copy / "config.json", lambda config: config.update(rms_norm_eps=1.0))
    assert at_directory(copy, name="x").digest != at_directory(saved, name="x").digest


def test_a_device_map_loads_the_same_model(saved: Path) -> None:
    plain, mapped = load(locate(str(saved))), load(locate(str(saved)), device_map="auto")
    batch = batch_of(plain.tokenizer, [("Ina is", "at home")], device=torch.device("cpu"))
    logits = mapped.target_logits(batch)
    assert logits.device == batch.input_ids.device
    torch.testing.assert_close(logits.cpu(), plain.target_logits(batch), atol=1e-4, rtol=1e-4)


def test_a_model_that_waits_elsewhere_is_refused(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.nn.Parameter, "is_meta", property(lambda _: True))
    with pytest.raises(ValueError, match="does not fit on the devices of this machine"):
        load(locate(str(saved)), device_map="auto")


def test_dtype(saved: Path) -> None:
    assert load(locate(str(saved)), dtype="bfloat16").dtype == torch.bfloat16
    with pytest.raises(ValueError, match="Did you mean 'float32'"):
        load(locate(str(saved)), dtype="float23")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mini-lama", "Unknown backbone 'mini-lama'. Did you mean 'mini-llama'?"),
        ("gpt2-xl", "use --preset paper, or give the path"),
        ("./nowhere", "No model directory at ./nowhere"),
    ],
)
def test_unknown_names(name: str, sentence: str) -> None:
    with pytest.raises((ValueError, OSError)) as error:
        locate(name)
    assert sentence in str(error.value)


def test_a_hub_that_cannot_be_reached_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(OSError, match=r"Cannot get openai-community/gpt2-xl from the hub") as error:
        locate("gpt2-xl", hub=True)
    assert "\n" not in str(error.value)


def remove_weights(directory: Path) -> None:
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")


def remove_config(directory: Path) -> None:
    (directory / "config.json").unlink()


def break_config(directory: Path) -> None:
    (directory / "config.json").write_text("{")


def list_config(directory: Path) -> None:
    (directory / "config.json").write_text("[]")


def other_type(directory: Path) -> None:
    edit_json(directory / "config.json", lambda c: c.update(model_type="bert"))


def remote_model(directory: Path) -> None:
    edit_json(directory / "config.json", lambda c: c.update(auto_map={"AutoModel": "x.Y"}))


def asking_for_trust(directory: Path) -> None:
    edit_json(directory / "config.json", lambda c: c.update({"trust_remote_code": True}))


def write_index(directory: Path, file: str) -> None:
    index = {"metadata": {}, "weight_map": {"model.norm.weight": file}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def lead_elsewhere(directory: Path) -> None:
    write_index(directory, "../elsewhere/model.safetensors")


def name_a_missing_file(directory: Path) -> None:
    write_index(directory, "other.safetensors")


def remote_tokenizer(directory: Path) -> None:
    edit_json(
        directory / "tokenizer_config.json", lambda c: c.update(auto_map={"AutoTokenizer": ["x.Y"]})
    )


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (remove_weights, r"no \*\.safetensors weights, only pickled weights \(pytorch_model.bin\)"),
        (remove_config, "No config.json in"),
        (break_config, "config.json is not valid JSON"),
        (list_config, "must hold a JSON object, got list"),
        (other_type, "model_type 'bert', which has no architecture row. Available: gpt2"),
        (remove_weights, r"`python -m bench import-weights .*` converts them"),
        (remote_model, r"config.json asks for remote code \(auto_map\)"),
        (remote_model, r"python -m bench import-weights FILE"),
        (asking_for_trust, r"config.json asks for remote code \(trust_remote_code\)"),
        (lead_elsewhere, r"which is a path"),
        (name_a_missing_file, r"names other.safetensors, which is not in"),
        (remote_tokenizer, r"tokenizer_config.json asks for remote code \(auto_map\)"),
    ],
)
def test_directories_that_are_refused_before_loading(
    copy: Path, damage: Callable[[Path], None], sentence: str
) -> None:
    damage(copy)
    with pytest.raises((ValueError, OSError), match=sentence):
        locate(str(copy))


def test_a_tokenizer_of_another_model_is_refused(copy: Path) -> None:
    edit_json(copy / "tokenizer.json", lambda t: t["model"].update(vocab={"<s>": 1}, merges=[]))  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="embedding rows; they do not belong together"):
        load(locate(str(copy)))


def test_missing_tensors_are_refused(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(copy / "model.safetensors")
    del tensors["model.layers.1.mlp.down_proj.weight"]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lack tensors of the model: model\.layers\.1\.mlp"):
        load(locate(str(copy)))


def test_devices() -> None:
    assert check_device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="Unknown device 'gpu'"):
        check_device("gpu")


def test_cuda_without_a_card_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="sees no CUDA device; use cpu"):
        check_device("cuda")


def change_weights(directory: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = directory / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


LAST_NORM = "model.layers.2.input_layernorm.weight"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.pop(LAST_NORM), rf"lack tensors of the model: {LAST_NORM}\.$"),
        (
            lambda t: t.update({LAST_NORM: torch.zeros(5)}),
            rf"have {LAST_NORM} in the shape \(5,\), but its config.json wants \(16,\)\.$",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(
    copy: Path, change: Callable[[dict[str, torch.Tensor]], object], sentence: str
) -> None:
    change_weights(copy, change)
    with pytest.raises(ValueError, match=sentence):
        load(locate(str(copy)))


def test_half_a_file_is_one_sentence(copy: Path) -> None:
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="are no whole safetensors file: ") as error:
        load(locate(str(copy)))
    assert "\n" not in str(error.value)
