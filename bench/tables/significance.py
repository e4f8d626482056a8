"""RECIPE against every other editor over the seeds of a table: differences, tests, effect sizes.

Seeds are paired: at the same seed all editors see the same samples in the same order. Welch's test,
which the paper's captions can be checked with, ignores that. Both are two-sided, and corrected for
all tests of one table by Holm's method. Where seeds share samples, their scores are no independent
measurements and nothing is tested: five runs over the same samples in another order agree whatever
the editors are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from bench.core.cells import Cell
from bench.core.numerics import Spread, spread
from bench.tables.table import EMPTY, TextTable, breaks

if TYPE_CHECKING:
    from bench.tables.editing import EditingView

FAVOURITE = "RECIPE"  # the editor that the paper claims to be the best, by label
LEVEL = 0.05  # of p, two-sided: the paper's
ROUNDING = 1e-9  # points: differences that are nearer together are equal

Place = tuple[int, str]  # (n, data set label)
# (n, editor label, data set label) -> seed -> Avg in percent
Averages = Mapping[tuple[int, str, str], Mapping[int, float]]


@dataclass(frozen=True, kw_only=True)
class TTest:
    """Student's t of first minus second, its degrees of freedom and the two-sided p."""

    t: float
    df: float
    p: float
    effect: float = 0.0  # paired: Cohen's d_z, mean difference over the differences' deviation
    adjusted: float | None = None  # p after Holm


def welch(first: Spread, second: Spread) -> TTest | None:
    """Welch's unequal-variances t-test of two means; None where it is not defined.

    It is not where a mean has no spread, and where neither has any variance.
    """
    if first.std is None or second.std is None or first.std == second.std == 0:
        return None
    from scipy.stats import ttest_ind_from_stats

    test = ttest_ind_from_stats(
        first.mean, first.std, first.n, second.mean, second.std, second.n, equal_var=False
    )
    # Welch and Satterthwaite's degrees of freedom, which SciPy does not return here.
    errors = [first.std**2 / first.n, second.std**2 / second.n]
    parts = [errors[0] ** 2 / (first.n - 1), errors[1] ** 2 / (second.n - 1)]
    return TTest(t=float(test.statistic), df=sum(errors) ** 2 / sum(parts), p=float(test.pvalue))


def paired(first: Sequence[float], second: Sequence[float]) -> TTest | None:
    """The paired t-test of values that belong together one by one; None where it is not defined.

    It is not with fewer than two pairs, and where all differences are equal.
    """
    differences = [a - b for a, b in zip(first, second, strict=True)]
    if len(differences) < 2 or max(differences) - min(differences) < ROUNDING:
        return None
    from scipy.stats import ttest_rel

    test = ttest_rel(first, second)
    effect = fmean(differences) / stdev(differences)
    return TTest(t=float(test.statistic), df=test.df, p=float(test.pvalue), effect=effect)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down p-values of one family of tests, in the order given."""
    adjusted = [0.0] * len(ps)
    highest = 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[i]))
        adjusted[i] = highest
    return adjusted


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The favourite minus another editor at n edits on one data set, in points."""

    n_edits: int
    dataset: str
    other: str
    best_other: bool  # no other editor has a higher mean
    seeds: int  # that both have
    shared: bool = False  # whether the seeds have samples in common
    difference: float
    paired: TTest | None
    welch: TTest | None

    @property
    def significant(self) -> bool:
        """Whether the paired test finds a difference, of either sign, after Holm's correction."""
        p = None if self.paired is None else self.paired.adjusted
        return p is not None and p < LEVEL

    @property
    def untested(self) -> str:
        """Why the paired test is undefined; empty where it is not."""
        if self.paired is not None:
            return ""
        if self.seeds < 2:
            return "fewer than two seeds"
        return "seeds share samples" if self.shared else "the same difference at every seed"


def comparisons(
    averages: Averages, sharing: Collection[Place] = frozenset()
) -> tuple[Comparison, ...]:
    """Every other editor beside the favourite, per number of edits and data set.

    Places at which the seeds have samples in common are not tested.
    """
    by_place: dict[tuple[int, str], dict[str, Mapping[int, float]]] = {}
    for (n_edits, editor, dataset), values in averages.items():
        by_place.setdefault((n_edits, dataset), {})[editor] = values
    pairs = [
        replace(pair, shared=True, paired=None, welch=None) if place in sharing else pair
        for place in sorted(by_place)
        for pair in _pairs(place, by_place[place])
    ]
    by_paired = _adjusted([pair.paired for pair in pairs])
    by_welch = _adjusted([pair.welch for pair in pairs])
    return tuple(
        replace(pair, paired=t, welch=w)
        for pair, t, w in zip(pairs, by_paired, by_welch, strict=True)
    )


def shares_samples(cells: Iterable[Cell], rows: int) -> bool:
    """Whether seeds of one number draw any of the `rows` of a test split twice."""
    seen: set[int] = set()
    for cell in {cell.seed: cell for cell in cells}.values():
        drawn = set(cell.drawn(range(rows)))
        if seen & drawn:
            return True
        seen |= drawn
    return False


def _adjusted(tests: Sequence[TTest | None]) -> Iterator[TTest | None]:
    """The same with Holm's p of all of them."""
    adjusted = iter(holm([test.p for test in tests if test]))
    return (replace(test, adjusted=next(adjusted)) if test else None for test in tests)


def ahead_of_the_best(compared: Sequence[Comparison]) -> frozenset[Place]:
    """(n, data set) at which the favourite is significantly above the best other editor."""
    return frozenset(
        (pair.n_edits, pair.dataset)
        for pair in compared
        if pair.best_other and pair.significant and pair.difference > 0
    )


def _pairs(place: Place, editors: Mapping[str, Mapping[int, float]]) -> Iterator[Comparison]:
    ours = editors.get(FAVOURITE)
    others = {editor: values for editor, values in editors.items() if editor != FAVOURITE}
    if not ours or not others:
        return
    highest = max(fmean(values.values()) for values in others.values())
    for editor, theirs in others.items():
        seeds = sorted(ours.keys() & theirs.keys())
        yield Comparison(
            n_edits=place[0], dataset=place[1], other=editor, seeds=len(seeds),
            best_other=fmean(theirs.values()) == highest,
            difference=fmean(ours.values()) - fmean(theirs.values()),
            paired=paired([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]),
            welch=welch(spread([*ours.values()]), spread([*theirs.values()])),
        )  # fmt: skip


_COLUMNS = ("difference", "seeds", "paired t", "p", "Holm", "d_z", "Welch t", "p", "Holm", "")
_HEAD = (
    f"Table {{number}}, {{backbone}}: Avg of {FAVOURITE} minus that of every other editor, in "
    "points, over the seeds that both have."
)
_TESTS = (
    "Two-sided t-tests, paired over seeds and Welch's; Holm: p after his correction of the {tests} "
    "tests of the table; d_z: mean difference over the standard deviation of the differences; "
    "best: the best other editor."
)


def comparison_table(view: EditingView) -> TextTable:
    """One line for each comparison."""
    compared, about = view.comparisons, view.about
    head = _HEAD.format(number=view.table.number, backbone=view.rows[0].backbone)
    tests = _TESTS.format(tests=sum(pair.paired is not None for pair in compared))
    return TextTable(
        caption=(head, about.measured, about.protocol, about.seeds, tests),
        groups=(("", ("n", "data", "against")), ("", _COLUMNS)),
        rows=tuple(map(_texts, compared)),
        breaks=breaks([(pair.n_edits, pair.dataset) for pair in compared]),
    )


def _texts(pair: Comparison) -> tuple[str, ...]:
    t, w = pair.paired, pair.welch
    return (
        f"{pair.n_edits:,}", pair.dataset, pair.other, f"{pair.difference:+.2f}", str(pair.seeds),
        *_test(t), f"{t.effect:+.2f}" if t else EMPTY, *_test(w),
        ", ".join(filter(None, ["best" if pair.best_other else "", pair.untested])),
    )  # fmt: skip


def _test(test: TTest | None) -> tuple[str, str, str]:
    if test is None:
        return EMPTY, EMPTY, EMPTY
    return f"{test.t:+.2f}", f"{test.p:.2g}", f"{test.adjusted:.2g}"
