"""Rough bytes of what answering and covariances store; assumptions as in `editors.parts.needs`.

Further ones, ours: 64 tokens a row while answering; 64 rows answered at once; 20 new tokens.
"""

from __future__ import annotations

from bench.evaluation.inference import BATCH_SIZE
from editors.parts.needs import BYTES, Setting

ASK_TOKENS, NEW_TOKENS = 64, 20
COVARIANCE_TEXTS = 3  # of the longest length in one forward: editors/parts/covariance.py


def answering(on: Setting) -> float:
    """A batch of questions, decoded with cached keys and values."""
    tokens = BATCH_SIZE * (ASK_TOKENS + NEW_TOKENS)
    cache = tokens * on.shape.layers * on.shape.cached * BYTES[on.dtype]
    return cache + on.logits(BATCH_SIZE) + on.block(BATCH_SIZE, ASK_TOKENS)


def covariance_bytes(on: Setting, layers: int) -> float:
    """Sums in float64 of all layers, and one forward of documents without a gradient."""
    shape, size = on.shape, BYTES[on.dtype]
    tokens = COVARIANCE_TEXTS * min(shape.context, 4096)
    values = 12 * shape.hidden + 4 * shape.inner
    keys = layers * tokens * shape.inner * (size + 8)
    return layers * 8 * shape.inner**2 + tokens * values * size + keys
