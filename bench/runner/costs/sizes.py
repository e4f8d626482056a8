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
from bench.models import catalogue
from bench.models.backbones import BACKBONES, EMBEDDED, checked_config
from bench.models.resources import ENCODERS
from bench.world.store import ASSETS
from editors.parts.language_model import architecture_of
from editors.parts.needs import EncoderShape, Shape
from editors.registry import CONTROL_SUFFIX

# Of the paper's models as they were published, so that no file has to be fetched for a plan.
_PUBLISHED = json.loads(Path(__file__).with_name("configs.json").read_text(encoding="utf-8"))


def shape_of_backbone(name: str) -> Shape:
    """The sizes of a backbone: of a name, or of a local directory."""
    listed = catalogue.named(name, "backbone")
    config = _PUBLISHED["backbones"].get(name if listed is None else listed.entry.key)
    if config is not None:
        return shape_of(config, name)
    if name in EMBEDDED:
        return shape_of(checked_config(ASSETS / name.removesuffix(CONTROL_SUFFIX)), name)
    directory = Path(name).expanduser()
    if not directory.is_dir():
        error = unknown_name("backbone", name, BACKBONES)
        raise ValueError(f"{error} A directory with a config.json can be given by its path.")
    return shape_of(checked_config(directory), directory.resolve().name)


def shape_of(config: Mapping[str, Any], name: str) -> Shape:
    """The sizes of the language model that a configuration describes, else a ValueError."""
    try:
        return replace(_model_shape(json.dumps(dict(config), default=str)), name=name)
    except Exception as error:  # transformers raises errors of many kinds for a wrong field
        reason = " ".join(str(error).split())
        raise ValueError(f"The size of {name} is unknown: {reason}.") from error


@cache
def encoder_shape(name: str) -> EncoderShape:
    """The sizes of an encoder of a name or directory."""
    import torch
    from transformers import AutoConfig, AutoModel

    listed = catalogue.named(name, "encoder")
    config = _PUBLISHED["encoders"].get(name if listed is None else listed.entry.key)
    if config is None:
        directory = ASSETS / ENCODER if name == ENCODER else Path(name).expanduser()
        if not directory.is_dir():
            raise unknown_name("encoder", name, ENCODERS)
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    with torch.device("meta"):
        model: Any = AutoModel.from_config(
            AutoConfig.for_model(**{"model_type": "roberta", **config})
        )
    pooler = _count(model.pooler) if hasattr(model, "pooler") else 0
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
