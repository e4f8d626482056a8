"""Whether means over seeds differ: Welch's test from means and spreads, Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.statistics import Spread

LEVEL = 0.05  # of p, two-sided: the paper's


@dataclass(frozen=True, kw_only=True)
class Welch:
    """Welch's t of first minus second, its degrees of freedom and the two-sided p."""

    t: float
    df: float
    p: float


def welch(first: Spread, second: Spread) -> Welch | None:
    """Welch's unequal-variances t-test of two means; None where it is not defined.

    It is not where a mean has no spread, and where neither has any variance.
    """
    if first.std is None or second.std is None or first.std == second.std == 0:
        return None
    from scipy.stats import ttest_ind_from_stats

    found = ttest_ind_from_stats(
        first.mean,
        first.std,
        first.n,
        second.mean,
        second.std,
        second.n,
        equal_var=False,
    )
    return Welch(t=float(found.statistic), df=_degrees(first, second), p=float(found.pvalue))


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down p-values of one family of tests, in the order given."""
    adjusted = [0.0] * len(ps)
    highest = 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[i]))
        adjusted[i] = highest
    return adjusted


def _degrees(first: Spread, second: Spread) -> float:
    """Welch and Satterthwaite's degrees of freedom, which SciPy does not return here."""
    errors = [(one.std or 0.0) ** 2 / one.n for one in (first, second)]
    parts = [e**2 / (one.n - 1) for e, one in zip(errors, (first, second), strict=True)]
    return sum(errors) ** 2 / sum(parts)
