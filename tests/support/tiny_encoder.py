"""The tiny random sentence encoder of the contract, by its short name in tests."""

from bench.checks.contract.tiny_encoder import (
    HIDDEN,
    MAX_LENGTH,
    encoder_config,
    encoder_tokenizer,
    write_encoder,
)

__all__ = ["HIDDEN", "MAX_LENGTH", "encoder_config", "encoder_tokenizer", "write_encoder"]
