"""Sizes of models by their configurations: known totals, shipped weights, bad configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from bench.core.names import BACKBONES, ENCODER
from bench.models.backbones import EMBEDDED
from bench.runner.costs.sizes import encoder_shape, shape_of, shape_of_backbone
from bench.world.store import ASSETS
from editors.parts.language_model import ARCHITECTURES

LLAMA_KIND: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 24, "intermediate_size": 20, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32,
}  # fmt: skip
GPT_KIND: dict[str, Any] = {
    "vocab_size": 40, "n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 32,
}  # fmt: skip


def stored_parameters(directory: Path) -> int:
    """Of the weights in a directory."""
    with safe_open(directory / "model.safetensors", framework="pt") as file:
        return sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118


@pytest.mark.parametrize(
    ("model_type", "values", "inner", "cached"),
    [
        ("llama", LLAMA_KIND, 20, 2 * 2 * 6),
        ("llama", LLAMA_KIND | {"head_dim": 10}, 20, 2 * 2 * 10),
        ("mistral", LLAMA_KIND, 20, 2 * 2 * 6),
        ("qwen2", LLAMA_KIND, 20, 2 * 2 * 6),
        ("qwen3", LLAMA_KIND, 20, 2 * 2 * 128),
        ("gptj", GPT_KIND | {"rotary_dim": 4}, 96, 2 * 24),
        ("gpt2", GPT_KIND | {"n_inner": 20}, 20, 2 * 24),
        ("gpt_neox", LLAMA_KIND, 20, 2 * 24),
    ],
)
def test_every_architecture_has_its_sizes(
    model_type: str, values: dict[str, Any], inner: int, cached: int
) -> None:
    if model_type == "gpt_neox":
        values = {k: v for k, v in values.items() if k != "num_key_value_heads"}
    shape = shape_of({"model_type": model_type} | values, "tiny")
    assert (shape.layers, shape.hidden, shape.heads) == (2, 24, 4)
    assert (shape.vocabulary, shape.context) == (40, 32)
    assert (shape.inner, shape.cached) == (inner, cached)
    assert shape.inputs == len(ARCHITECTURES[model_type].mlp_in)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("llama-2-7b", 6_738_415_616),
        ("gpt-j-6b", 6_050_882_784),
        ("gpt2-xl", 1_557_611_200),
    ],
)
def test_the_papers_backbones_have_their_known_totals(name: str, parameters: int) -> None:
    assert shape_of_backbone(name).parameters == parameters


@pytest.mark.parametrize("name", BACKBONES)
def test_a_shipped_backbone_is_as_large_as_its_weights(name: str) -> None:
    for spelling in (name, str(ASSETS / name)):
        assert shape_of_backbone(spelling).parameters == stored_parameters(ASSETS / name)


def test_a_backbone_that_is_not_built_has_the_shape_of_its_like() -> None:
    assert shape_of_backbone(EMBEDDED[-1]).parameters == shape_of_backbone("mini-llama").parameters


def test_encoders() -> None:
    roberta, mini = (encoder_shape(name, hub=False) for name in ("roberta-base", ENCODER))
    assert roberta.parameters + roberta.pooler == 124_645_632
    assert mini.parameters + mini.pooler == stored_parameters(ASSETS / ENCODER)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "no-such-model"},
        {"model_type": "opt"},
        LLAMA_KIND | {"model_type": "llama", "vocab_size": "x"},
        LLAMA_KIND | {"model_type": "llama", "num_attention_heads": 5},
    ],
)
def test_configurations_that_describe_no_known_model(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="size of this model is unknown"):
        shape_of(config, "this model")


def test_unknown_backbones_and_encoders(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'mini-llama'"):
        shape_of_backbone("mini-lama")
    with pytest.raises(ValueError, match="'roberta-base'"):
        encoder_shape("roberta-bas", hub=True)
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        shape_of_backbone(str(tmp_path))
