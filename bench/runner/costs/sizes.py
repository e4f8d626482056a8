"""Sizes of language models and sentence encoders, counted on models without weights.

A model is built from its configuration on PyTorch's meta device, which allocates nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from bench.core.names import ENCODER, unknown_name
from bench.models.backbones import EMBEDDED, HUB_IDS, checked_config
from bench.world.store import ASSETS
from editors.parts.language_model import architecture_of
from editors.parts.needs import EncoderShape, Shape
from editors.registry import CONTROL_SUFFIX

Config = Mapping[str, Any]

# Fields of the published `config.json` of meta-llama/Llama-2-7b-hf, EleutherAI/gpt-j-6b and
# openai-community/gpt2-xl, so that no file has to be fetched for a plan.
CONFIGS: dict[str, dict[str, Any]] = {
    "llama-2-7b": {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": 2048,
        "vocab_size": 32000,
    },
    "gpt-j-6b": {
        "model_type": "gptj",
        "n_embd": 4096,
        "n_layer": 28,
        "n_head": 16,
        "n_positions": 2048,
        "vocab_size": 50400,
    },
    "gpt2-xl": {
        "model_type": "gpt2",
        "n_embd": 1600,
        "n_layer": 48,
        "n_head": 25,
        "n_positions": 1024,
        "vocab_size": 50257,
    },
}
# Likewise of FacebookAI/roberta-base.
ENCODERS: dict[str, dict[str, Any]] = {
    "roberta-base": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
        "vocab_size": 50265,
    },
}


def shape_of_backbone(name: str) -> Shape:
    """The sizes of a backbone: an embedded one, one of the paper's, or a local directory.

    Raises:
        ValueError: an unknown name, or a configuration that describes no known model.
        OSError: a directory without a readable configuration.
    """
    if name in CONFIGS:
        return shape_of(CONFIGS[name], name)
    if name in EMBEDDED:
        return shape_of(checked_config(ASSETS / name.removesuffix(CONTROL_SUFFIX)), name)
    directory = Path(name).expanduser()
    if not directory.is_dir():
        error = unknown_name("backbone", name, (*EMBEDDED, *HUB_IDS))
        raise ValueError(f"{error} A directory with a config.json can be given by its path.")
    return shape_of(checked_config(directory), directory.resolve().name)


def shape_of(config: Config, name: str) -> Shape:
    """The sizes of the language model that a configuration describes.

    Raises:
        ValueError: it describes none of a known architecture.
    """
    try:
        return replace(_model_shape(json.dumps(dict(config), default=str)), name=name)
    except Exception as error:  # transformers raises errors of many kinds for a wrong field
        reason = " ".join(str(error).split())
        raise ValueError(f"The size of {name} is unknown: {reason}.") from error


def encoder_shape(name: str | None, *, hub: bool) -> EncoderShape:
    """The sizes of an encoder of a name or directory; by default that of the backbones' kind.

    Raises:
        ValueError: no such encoder.
        OSError: a directory without a readable configuration.
    """
    import torch
    from transformers import RobertaConfig, RobertaModel

    name = name or ("roberta-base" if hub else ENCODER)
    config = ENCODERS.get(name)
    if config is None:
        directory = ASSETS / ENCODER if name == ENCODER else Path(name).expanduser()
        if not directory.is_dir():
            raise unknown_name("encoder", name, (ENCODER, *ENCODERS))
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    with torch.device("meta"):
        model: Any = RobertaModel(RobertaConfig(**config), add_pooling_layer=True)
    pooler = _count(model.pooler)
    return EncoderShape(
        hidden=model.config.hidden_size, parameters=_count(model) - pooler, pooler=pooler
    )


@cache
def _model_shape(config_text: str) -> Shape:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config: Any = AutoConfig.for_model(**json.loads(config_text))
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config)
    row = architecture_of(model)
    hidden, inner = row.as_out_in(model.get_submodule(row.mlp_out.format(0)).weight).shape
    heads = config.num_attention_heads
    # Families without these two fields have as many key heads as query heads, d / heads wide.
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    width = getattr(config, "head_dim", None) or hidden // heads
    return Shape(
        name="",
        layers=config.num_hidden_layers,
        hidden=hidden,
        inner=inner,
        gated=len(row.mlp_in) == 2,
        heads=heads,
        cached=2 * key_heads * width,
        vocabulary=config.vocab_size,
        context=config.max_position_embeddings,
        parameters=_count(model),
    )


def _count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
