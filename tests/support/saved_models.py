"""Tiny models as Hugging Face directories."""

from __future__ import annotations

from pathlib import Path

from bench.checks.contract.tiny import TINY


def save_tiny(architecture: str, directory: Path) -> Path:
    """Write the tiny model of an architecture (safetensors, configuration, tokenizer)."""
    lm = TINY[architecture]()
    lm.model.save_pretrained(directory)
    lm.tokenizer.save_pretrained(directory)
    return directory
