"""Weights in pickle formats, converted to safetensors by a process of their own."""

from __future__ import annotations

from pathlib import Path


def unpickle_path() -> Path:
    """The script that reads pickles; it is never imported."""
    return Path(__file__).parent / "unpickle.py"
