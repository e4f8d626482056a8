"""Which samples a seed draws, in which order, and how they are cut into blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

SampleT = TypeVar("SampleT")


def draw(samples: Sequence[SampleT], *, seed: int, limit: int | None) -> list[SampleT]:
    """The first `limit` samples (all if None) of one shuffle by `numpy.random.default_rng(seed)`.

    The released evaluation of RECIPE shuffles once for one edit and twice for more; drawing once
    gives every n the same nested order.
    """
    order = np.random.default_rng(seed).permutation(len(samples))
    return [samples[i] for i in order[:limit]]


def blocks(samples: Sequence[SampleT], n_edits: int) -> list[list[SampleT]]:
    """Disjoint consecutive blocks of `n_edits` samples; an incomplete tail is dropped.

    Raises:
        ValueError: fewer samples than one block needs.
    """
    if len(samples) < n_edits:
        raise ValueError(f"{n_edits} sequential edits need as many samples, got {len(samples)}.")
    last = len(samples) - n_edits
    return [list(samples[start : start + n_edits]) for start in range(0, last + 1, n_edits)]
