"""How far rounding alone can bring a printed number from what other printed numbers make."""

from __future__ import annotations

from bench.core.published import PublishedCell

# Between decimal fractions that are computed as binary ones; far below the last printed place.
_BINARY = 1e-9


def mean_allowance(place: PublishedCell) -> float:
    """Of a mean: half a unit of the last place for it, and half for the mean of its parts."""
    return place.unit


def sum_allowance(place: PublishedCell, parts: int) -> float:
    """Of a sum: half a unit of the last place for it and for each of its parts."""
    return place.unit * (parts + 1) / 2


def explains(off: float, allowance: float) -> bool:
    """Whether two numbers can be `off` apart by rounding.

    The allowance itself is out of reach: a half is rounded up, so one side never has all of it.
    """
    return abs(off) < allowance - _BINARY
