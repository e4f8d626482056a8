"""A model is known by its configuration, whatever its folder is called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from bench.core.config import RunConfig
from bench.models.backbones import EMBEDDED, HUB_IDS, UNKNOWN, like, locate
from bench.models.key_statistics import WIKIPEDIA
from bench.models.resources import corpus_named, encoder_named
from bench.runner.planning import points, settings
from bench.world.store import require_assets
from editors.parts.language_model import KNOWN, known_as, name_of
from tests.support.tiny_files import save_tiny

LLAMA_2: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "vocab_size": 32000, "pad_token_id": 0, "max_position_embeddings": 2048,
}  # fmt: skip
GPT_J: dict[str, Any] = {
    "model_type": "gptj", "n_embd": 4096, "n_layer": 28, "n_head": 16, "vocab_size": 50400,
}  # fmt: skip


def model_at(directory: Path, config: dict[str, Any]) -> Path:
    """A directory whose files are no model, but look like those of one."""
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "tokenizer.json").write_text("{}")
    save_file({"norm.weight": torch.ones(2)}, directory / "model.safetensors")
    return directory


@pytest.mark.parametrize("folder", ["Llama-2-7b-hf", "llama-2-7b", "mine", "gpt2-xl"])
def test_a_copy_is_known_whatever_its_folder_is_called(folder: str, tmp_path: Path) -> None:
    backbone = locate(str(model_at(tmp_path / folder, LLAMA_2)), hub=True)
    assert (backbone.name, backbone.like) == (folder, "llama-2-7b")
    assert corpus_named(backbone.like, RunConfig()) == WIKIPEDIA
    assert encoder_named("recipe", backbone.like, RunConfig()) == "roberta-base"
    assert locate(str(model_at(tmp_path / "j" / folder, GPT_J))).like == "gpt-j-6b"


@pytest.mark.parametrize(
    "change",
    [{"model_type": "mistral"}, {"hidden_size": 64}, {"num_hidden_layers": 31},
     {"num_attention_heads": 8}, {"vocab_size": 32001}],
)  # fmt: skip
def test_another_model_in_a_folder_of_that_name_is_not(
    change: dict[str, Any], tmp_path: Path
) -> None:
    directory = model_at(tmp_path / "llama-2-7b", LLAMA_2 | change)
    assert locate(str(directory)).like == UNKNOWN
    with pytest.raises(ValueError, match=r"none that --preset paper knows by its configuration"):
        locate(str(directory), hub=True)
    assert locate(str(directory), hub=True, weights="random").like == UNKNOWN


def test_names_are_their_own() -> None:
    assert [like(name) for name in (*EMBEDDED, *HUB_IDS)] == [*EMBEDDED, *HUB_IDS]
    for name in ("mini-llama", "mini-gptj", "mini-gpt2"):
        directory = require_assets(0, name)
        assert known_as(json.loads((directory / "config.json").read_text()), "copy") == name
        assert locate(name).like == name


def test_of_equal_models_the_name_decides() -> None:
    sizes = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    config = dict(zip(sizes, KNOWN["llama-3-8b"], strict=True))
    assert known_as(config, "Llama-3-8B-Instruct") == "llama-3-8b-instruct"
    assert known_as(config, "Meta-Llama-3-8B") == "llama-3-8b"


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("models/gpt2-xl/", "gpt2-xl"),
        ("gpt2-xl", "gpt2-xl"),
        ("/c/hub/models--meta-llama--Llama-2-7b-hf/snapshots/01c7f73d771d", "Llama-2-7b-hf"),
        ("/c/hub/models--gpt2/snapshots/607a30d783df/", "gpt2"),
        ("D:\\models\\mine", "mine"),
    ],
)
def test_a_snapshot_is_called_as_its_repository(place: str, name: str) -> None:
    assert name_of(place) == name


def test_a_located_snapshot_has_the_name_of_its_repository(tmp_path: Path) -> None:
    folder = tmp_path / "models--someone--Their-Model" / "snapshots" / ("0" * 40)
    assert locate(str(model_at(folder, GPT_J))).name == "Their-Model"


def test_the_settings_of_every_editor_are_listed(tmp_path: Path) -> None:
    copy = str(model_at(tmp_path / "mine", LLAMA_2))
    other = str(save_tiny("llama", tmp_path / "tiny"))

    def lines(backbone: str, **changes: Any) -> list[str]:
        config = RunConfig(backbone=backbone, editors=("ft", "rome", "recipe"), **changes)
        return [line.removeprefix(f"{backbone}  ") for line in settings(config, points(config))]

    assert lines(copy) == [
        "FT: preset llama-2-7b, bundle original, corpus none, encoder none",
        "ROME: preset llama-2-7b, bundle original, corpus wikipedia, encoder none",
        "RECIPE: preset llama-2-7b, bundle original, corpus none, encoder roberta-base",
    ]
    own = {"corpus": "my.txt", "hparams": {"ft": "gpt2-xl", "rome.layer": 1}}
    assert lines(other, **own) == [
        "FT: preset gpt2-xl, bundle original, corpus none, encoder none",
        "ROME: preset default, bundle original, corpus my.txt, encoder none",
        "RECIPE: preset default, bundle original, corpus none, encoder mini-roberta",
    ]
