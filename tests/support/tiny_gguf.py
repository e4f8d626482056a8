"""Tiny models as GGUF files, written as llama.cpp writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from bench.checks.contract.tiny import byte_tokenizer

HIDDEN, LAYERS, HEADS, KEY_HEADS, CONTEXT = 16, 2, 4, 2, 1024
_LLAMA: dict[str, Any] = {
    "hidden_size": HIDDEN, "intermediate_size": 24, "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS, "num_key_value_heads": KEY_HEADS,
    "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
}  # fmt: skip
# Names of tensors in GGUF, by their names in transformers.
_OF_LLAMA = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "model.embed_tokens": "token_embd", "model.norm": "output_norm",
    "model.layers": "blk",
}  # fmt: skip
_OF_GPT2 = {
    "ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
    "transformer.wte": "token_embd", "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm", "transformer.h": "blk",
}  # fmt: skip


def tiny_model(architecture: str) -> PreTrainedModel:
    """A random model whose norms and biases are no constants."""
    tokens = len(byte_tokenizer(bos=False))
    vocabulary: dict[str, Any] = {"vocab_size": tokens, "bos_token_id": 1, "eos_token_id": 2}
    gpt2: dict[str, Any] = {
        "n_embd": HIDDEN,
        "n_layer": LAYERS,
        "n_head": HEADS,
        "n_positions": CONTEXT,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        models: dict[str, Any] = {
            "llama": lambda: LlamaForCausalLM(LlamaConfig(**_LLAMA, **vocabulary)),
            "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**_LLAMA, **vocabulary)),
            "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**gpt2, **vocabulary)),
        }
        model: PreTrainedModel = models[architecture]().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def write_gguf(
    path: Path, architecture: str, *, called: str | None = None, without: str = ""
) -> PreTrainedModel:
    """Write a tiny model's file, in which it may be `called` otherwise; the model."""
    import gguf

    model = tiny_model(architecture)
    writer = gguf.GGUFWriter(path, called or architecture)
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    if architecture == "gpt2":
        writer.add_layer_norm_eps(1e-5)
    else:
        writer.add_feed_forward_length(24)
        writer.add_head_count_kv(KEY_HEADS)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_rope_freq_base(10_000.0)
        writer.add_rope_dimension_count(HIDDEN // HEADS)
        writer.add_vocab_size(model.config.vocab_size)
    _add_tokenizer(writer)
    for name, tensor in model.named_parameters():
        renamed = _renamed(name, _OF_GPT2 if architecture == "gpt2" else _OF_LLAMA)
        if renamed != without:
            writer.add_tensor(renamed, _stored(renamed, tensor.detach().numpy(), architecture))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def _renamed(name: str, names: dict[str, str]) -> str:
    for old, new in names.items():
        name = name.replace(old, new)
    return name


def _stored(name: str, weight: NDArray[np.float32], architecture: str) -> NDArray[np.float32]:
    if architecture == "gpt2" and name.startswith("blk") and weight.ndim == 2:
        weight = weight.T  # transformers stores (in, out) there
    if architecture == "llama" and (".attn_q." in name or ".attn_k." in name):
        heads = HEADS if ".attn_q." in name else KEY_HEADS
        halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1)
        weight = halves.swapaxes(1, 2).reshape(weight.shape)  # rotary pairs side by side
    return np.ascontiguousarray(weight)


def _add_tokenizer(writer: Any) -> None:
    tokenizer = byte_tokenizer(bos=False)
    content = tokenizer.backend_tokenizer.to_str()
    merges = [" ".join(pair) for pair in json.loads(content)["model"]["merges"]]
    pieces = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(pieces)
    special = tokenizer.all_special_tokens
    writer.add_token_types([3 if piece in special else 1 for piece in pieces])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
