"""The tiny random language models of the contract, by their short name in tests."""

from bench.checks.contract.tiny import (
    CONTEXT,
    HIDDEN,
    INNER,
    LAYERS,
    REQUESTS,
    SAMPLES,
    TINY,
    byte_tokenizer,
    tiny_gpt2,
    tiny_gptj,
    tiny_llama,
)

__all__ = [
    "CONTEXT",
    "HIDDEN",
    "INNER",
    "LAYERS",
    "REQUESTS",
    "SAMPLES",
    "TINY",
    "byte_tokenizer",
    "tiny_gpt2",
    "tiny_gptj",
    "tiny_llama",
]
