"""Mean and spread over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """The mean of n values with their sample standard deviation, None where n is 1."""

    mean: float
    std: float | None
    n: int


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation (n - 1 in the denominator) of one value per seed.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("A mean over seeds needs at least one value.")
    std = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), std, len(values))
