"""Rough bytes of what forwards and backwards keep; everything else is exact arithmetic.

Assumed, ours: 40 tokens a row while editing, 64 while answering and 32 while training (the real
sets' longest rows are about twice their mean); 64 rows answered at once; 20 new tokens. A block
computes 12 d + 4 m values a token (two norms, queries, keys, values, attention's answer, its
projection, two residual sums; both inputs of the MLP, their product and its activation) and 2
attention weights a head and pair of tokens. With a gradient all of them are kept for every block
above the first that is changed; without one, those of a single block at a time.
"""

from __future__ import annotations

from bench.evaluation.probing import BATCH_SIZE
from bench.runner.costs.shapes import Shape

EDIT_TOKENS, ASK_TOKENS, TRAIN_TOKENS, NEW_TOKENS = 40, 64, 32, 20
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
COVARIANCE_TEXTS = 3  # of the longest length in one forward: editors/parts/covariance.py
_SCORED = 4  # positions of a row whose logits are computed
_LOGITS = 3 * 4  # bytes of one logit, its log-softmax and its gradient in float32


def block_bytes(shape: Shape, rows: int, tokens: int, dtype: str) -> float:
    """What one block computes of some rows."""
    values = 12 * shape.hidden + 4 * shape.inner + 2 * shape.heads * tokens
    return rows * tokens * values * BYTES[dtype]


def with_gradient(
    shape: Shape, rows: int, blocks: int, dtype: str, tokens: int = EDIT_TOKENS
) -> float:
    """A forward and backward of rows through the last `blocks` blocks and the head."""
    logits = rows * _SCORED * shape.vocabulary * _LOGITS
    return blocks * block_bytes(shape, rows, tokens, dtype) + logits


def answering(shape: Shape, dtype: str) -> float:
    """A batch of questions, decoded with cached keys and values."""
    kept = BATCH_SIZE * (ASK_TOKENS + NEW_TOKENS) * shape.layers * shape.cached * BYTES[dtype]
    logits = BATCH_SIZE * _SCORED * shape.vocabulary * _LOGITS
    return kept + logits + block_bytes(shape, BATCH_SIZE, ASK_TOKENS, dtype)


def covariance_bytes(shape: Shape, layers: int, dtype: str) -> float:
    """Sums in float64 of all layers, and one forward of documents without a gradient."""
    tokens = COVARIANCE_TEXTS * min(shape.context, 4096)
    values = 12 * shape.hidden + 4 * shape.inner
    keys = layers * tokens * shape.inner * (BYTES[dtype] + 8)
    return layers * 8 * shape.inner**2 + tokens * values * BYTES[dtype] + keys
