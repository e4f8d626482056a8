"""Names of the miniature models, apart from everything that is slow to import."""

from __future__ import annotations

BACKBONES = ("mini-llama", "mini-gptj", "mini-gpt2")
# mini-llama without documents that teach reading a context, for Table 4; it is not shipped.
CONTROL = "mini-llama-control"
ENCODER = "mini-roberta"
MODELS = (*BACKBONES, ENCODER)  # what `world build` trains by default
