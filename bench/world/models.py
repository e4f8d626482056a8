"""Names of the miniature models, apart from everything that is slow to import."""

from __future__ import annotations

BACKBONES = ("mini-llama", "mini-gptj", "mini-gpt2")
ENCODER = "mini-roberta"
MODELS = (*BACKBONES, ENCODER)  # what `world build` trains
