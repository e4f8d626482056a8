"""Tiny random models with the field values of real configurations at reduced sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerBase

from bench.checks.contract.tiny import CONTEXT, HIDDEN, INNER, LAYERS
from editors.parts.language_model import LanguageModel

# What every LLaMA-like configuration has, at the values that most of them share.
_LLAMA_LIKE = {
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1e6,
    "tie_word_embeddings": False,
    "use_cache": True,
    "attention_dropout": 0.0,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}

# The fields of published `config.json` files that decide about the computation.
CONFIGS: dict[str, dict[str, Any]] = {
    "llama-3-8b": _LLAMA_LIKE
    | {"model_type": "llama", "attention_bias": False, "rope_theta": 5e5, "rope_scaling": None},
    "llama-3.2-1b": _LLAMA_LIKE
    | {
        "model_type": "llama",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "rope_theta": 5e5,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    },
    "mistral-7b-v0.1": _LLAMA_LIKE
    | {"model_type": "mistral", "rope_theta": 1e4, "sliding_window": 4096},
    "mistral-7b-v0.3": _LLAMA_LIKE | {"model_type": "mistral", "sliding_window": None},
    "qwen2-7b": _LLAMA_LIKE
    | {
        "model_type": "qwen2",
        "rms_norm_eps": 1e-6,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "use_sliding_window": False,
        "sliding_window": 131072,
        "max_window_layers": 28,
    },
    "qwen2.5-0.5b": _LLAMA_LIKE
    | {
        "model_type": "qwen2",
        "rms_norm_eps": 1e-6,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "use_sliding_window": False,
        "sliding_window": 32768,
        "max_window_layers": 24,
        "tie_word_embeddings": True,
    },
    "qwen3-0.6b": _LLAMA_LIKE
    | {
        "model_type": "qwen3",
        "rms_norm_eps": 1e-6,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "attention_bias": False,
        "use_sliding_window": False,
        "sliding_window": None,
        "max_window_layers": 28,
        "tie_word_embeddings": True,
    },
    "pythia-160m": {
        "model_type": "gpt_neox",
        "hidden_act": "gelu",
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-5,
        "rotary_pct": 0.25,
        "rotary_emb_base": 10000,
        "tie_word_embeddings": False,
        "use_cache": True,
        "use_parallel_residual": True,
        "num_attention_heads": 12,
    },
    "gpt-neox-20b": {
        "model_type": "gpt_neox",
        "hidden_act": "gelu_fast",
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-5,
        "rotary_pct": 0.25,
        "rotary_emb_base": 10000,
        "tie_word_embeddings": False,
        "use_cache": True,
        "use_parallel_residual": True,
        "num_attention_heads": 64,
    },
}

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


def cut(config: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """The configuration at tiny sizes, for the tokens of `tokenizer`; other fields stay."""
    if "n_embd" in config:
        sizes = {name: size for name, size in _GPT_SIZES.items() if name in config}
    else:
        sizes = {name: size for name, size in _SIZES.items() if name in config or name in _ALWAYS}
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    return {**config, **sizes, **ids, "vocab_size": len(tokenizer), "pad_token_id": None}


def language_model(
    name: str, config: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase
) -> LanguageModel:
    """A random model of a cut-down configuration, ten times the usual scale as in `tiny`."""
    values = cut(config, tokenizer)
    reduced = AutoConfig.for_model(values.pop("model_type"), **values)
    with torch.random.fork_rng():
        torch.manual_seed(20)
        model = AutoModelForCausalLM.from_config(reduced)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    return LanguageModel(model, tokenizer, name=name)
