"""Whether means over seeds differ: Welch's test, the paired test, Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from bench.core.numerics import Spread

LEVEL = 0.05  # of p, two-sided: the paper's
ROUNDING = 1e-9  # points: differences that are nearer together are equal


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


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Student's paired t of first minus second, the two-sided p, and the effect size."""

    t: float
    p: float
    effect: float  # Cohen's d_z: mean difference over the standard deviation of the differences


def paired(first: Sequence[float], second: Sequence[float]) -> Paired | None:
    """The paired t-test of values that belong together one by one; None where it is not defined.

    It is not with fewer than two pairs, and where all differences are equal.
    """
    differences = [a - b for a, b in zip(first, second, strict=True)]
    if len(differences) < 2 or max(differences) - min(differences) < ROUNDING:
        return None
    from scipy.stats import ttest_rel

    found = ttest_rel(first, second)
    effect = fmean(differences) / stdev(differences)
    return Paired(t=float(found.statistic), p=float(found.pvalue), effect=effect)


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
