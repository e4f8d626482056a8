"""Tiny random models with the field values of real configurations at reduced sizes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerBase

from bench.checks.contract.tiny import CONTEXT, HIDDEN, INNER, LAYERS
from editors.parts.language_model import LanguageModel

# The fields of published `config.json` files that decide about the computation.
CONFIGS: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("configs.json").read_text("utf-8")
)

_GPT_SIZES = {
    "n_embd": HIDDEN,
    "n_inner": INNER,
    "n_layer": LAYERS,
    "n_head": 2,
    "n_positions": CONTEXT,
    "n_ctx": CONTEXT,
    "rotary_dim": 4,
}
_SIZES = {
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 12,  # where a configuration names it, it is not hidden_size / heads there either
    "max_position_embeddings": CONTEXT,
}
_ALWAYS = {"hidden_size", "intermediate_size", "num_hidden_layers", "max_position_embeddings"}


def language_model(
    name: str, config: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase
) -> LanguageModel:
    """A random model of a configuration at tiny sizes, ten times the usual scale as in `tiny`."""
    if "n_embd" in config:
        sizes = {name: size for name, size in _GPT_SIZES.items() if name in config}
    else:
        sizes = {name: size for name, size in _SIZES.items() if name in config or name in _ALWAYS}
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    values = {**config, **sizes, **ids, "vocab_size": len(tokenizer), "pad_token_id": None}
    reduced = AutoConfig.for_model(values.pop("model_type"), **values)
    with torch.random.fork_rng():
        torch.manual_seed(20)
        model = AutoModelForCausalLM.from_config(reduced)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    return LanguageModel(model, tokenizer, name=name)
