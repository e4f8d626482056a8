"""Parameters by formula: the real totals, and torch's own count of models on the meta device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, RobertaConfig, RobertaModel

from bench.core.names import BACKBONES, ENCODER
from bench.models.backbones import EMBEDDED
from bench.runner.costs.known import CONFIGS, ENCODERS
from bench.runner.costs.shapes import encoder_shape, shape_of, shape_of_backbone
from bench.world.store import ASSETS
from editors.parts.language_model import ARCHITECTURES

LLAMA_KIND: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 24, "intermediate_size": 20, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32,
}  # fmt: skip
GPT_KIND: dict[str, Any] = {
    "vocab_size": 40, "n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 32,
}  # fmt: skip
CASES: list[tuple[str, dict[str, Any]]] = [
    ("llama", LLAMA_KIND),
    ("llama", LLAMA_KIND | {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    ("llama", LLAMA_KIND | {"head_dim": 10}),
    ("mistral", LLAMA_KIND),
    ("mistral", LLAMA_KIND | {"num_attention_heads": 8, "num_key_value_heads": None}),
    ("qwen2", LLAMA_KIND),
    ("qwen2", LLAMA_KIND | {"tie_word_embeddings": True}),
    ("qwen3", LLAMA_KIND),
    ("qwen3", LLAMA_KIND | {"head_dim": 8, "attention_bias": True}),
    ("gptj", GPT_KIND | {"rotary_dim": 4}),
    ("gptj", GPT_KIND | {"rotary_dim": 4, "n_inner": 20}),
    ("gpt2", GPT_KIND),
    ("gpt2", GPT_KIND | {"n_inner": 20}),
    ("gpt_neox", LLAMA_KIND),
    ("gpt_neox", LLAMA_KIND | {"attention_bias": False}),
]


def counted(config: dict[str, Any]) -> tuple[int, Any]:
    """(parameters, model) as torch has them; a tied weight counts once."""
    with torch.device("meta"):
        made: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    return sum(parameter.numel() for parameter in made.parameters()), made


@pytest.mark.parametrize(("model_type", "values"), CASES)
def test_the_formula_counts_what_torch_has(model_type: str, values: dict[str, Any]) -> None:
    config = {"model_type": model_type} | {k: v for k, v in values.items() if v is not None}
    shape = shape_of(config, "tiny")
    expected, model = counted(config)
    assert shape.parameters == expected
    row = ARCHITECTURES[model_type]
    projection = row.as_out_in(model.get_submodule(row.mlp_out.format(0)).weight)
    assert (shape.hidden, shape.inner) == tuple(projection.shape)
    assert shape.inputs == len(row.mlp_in)


def test_every_architecture_has_a_formula() -> None:
    assert {model_type for model_type, _ in CASES} == set(ARCHITECTURES)


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
    assert counted(CONFIGS[name])[0] == parameters


@pytest.mark.parametrize("name", BACKBONES)
def test_a_shipped_backbone_is_counted_from_its_directory(name: str) -> None:
    config = json.loads((ASSETS / name / "config.json").read_text(encoding="utf-8"))
    assert shape_of_backbone(name).parameters == counted(config)[0]
    assert shape_of_backbone(str(ASSETS / name)).parameters == counted(config)[0]


def test_a_backbone_that_is_not_built_has_the_shape_of_its_like() -> None:
    control = EMBEDDED[-1]
    assert shape_of_backbone(control).parameters == shape_of_backbone("mini-llama").parameters


@pytest.mark.parametrize("name", ["roberta-base", ENCODER])
def test_encoders(name: str) -> None:
    values = ENCODERS.get(name) or json.loads(
        (ASSETS / ENCODER / "config.json").read_text(encoding="utf-8")
    )
    with torch.device("meta"):
        model = RobertaModel(RobertaConfig(**values), add_pooling_layer=True)
    shape = encoder_shape(name, hub=False)
    assert shape.parameters + shape.pooler == sum(p.numel() for p in model.parameters())
    if name == "roberta-base":
        assert shape.parameters + shape.pooler == 124_645_632


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"model_type": "bert"}, "No formula for the size of model_type 'bert'. Available: gpt2"),
        ({"model_type": "gptj", "n_layer": 2}, "must give n_embd as a whole number, got None"),
        (LLAMA_KIND | {"model_type": "llama", "vocab_size": "x"}, "vocab_size as a whole number"),
    ],
)
def test_configurations_that_cannot_be_counted(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        shape_of(config, "it")


def test_unknown_backbones_and_encoders(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Did you mean 'mini-llama'"):
        shape_of_backbone("mini-lama")
    with pytest.raises(ValueError, match="Did you mean 'roberta-base'"):
        encoder_shape("roberta-bas", hub=True)
    with pytest.raises(FileNotFoundError, match=r"No config\.json"):
        shape_of_backbone(str(tmp_path))
