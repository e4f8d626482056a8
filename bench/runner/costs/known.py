"""What the paper's models are: fields of the published `config.json` of each hub repository."""

from __future__ import annotations

from typing import Any

# meta-llama/Llama-2-7b-hf, EleutherAI/gpt-j-6b, openai-community/gpt2-xl.
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

# FacebookAI/roberta-base.
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

# Test questions of the general-ability sets as the hub has them: CommonsenseQA's validation split,
# MMLU's test split, ANLI's three test splits, SQuAD 2.0's validation split.
QUESTIONS = {"csqa": 1_221, "mmlu": 14_042, "anli": 3_200, "squad2": 11_873}
