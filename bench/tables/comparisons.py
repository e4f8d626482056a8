"""RECIPE against every other editor over the seeds of a table: differences, tests, effect sizes.

Seeds are paired: at the same seed all editors see the same samples in the same order. Welch's test,
which the paper's captions can be checked with, ignores that. Both are two-sided, and corrected for
all tests of one table by Holm's method.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import fmean

from bench.core.numerics import spread
from bench.tables.significance import LEVEL, Paired, Welch, holm, paired, welch

FAVOURITE = "RECIPE"  # whose claim is tested, by label

# (n, editor label, data set label) -> seed -> Avg in percent
Averages = Mapping[tuple[int, str, str], Mapping[int, float]]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The favourite minus another editor at n edits on one data set, in points."""

    n_edits: int
    dataset: str
    other: str
    best_other: bool  # no other editor has a higher mean
    seeds: int  # that both have
    difference: float
    paired: Paired | None
    welch: Welch | None
    untested: str = ""  # why, where the paired test is undefined
    adjusted_paired: float | None = None  # p after Holm
    adjusted_welch: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the paired test finds a difference, of either sign, after Holm's correction."""
        return self.adjusted_paired is not None and self.adjusted_paired < LEVEL


def comparisons(averages: Averages, favourite: str = FAVOURITE) -> tuple[Comparison, ...]:
    """Every other editor beside the favourite, per number of edits and data set."""
    found = list(_pairs(averages, favourite))
    by_paired = _adjusted([one.paired.p if one.paired else None for one in found])
    by_welch = _adjusted([one.welch.p if one.welch else None for one in found])
    return tuple(
        replace(one, adjusted_paired=p, adjusted_welch=q)
        for one, p, q in zip(found, by_paired, by_welch, strict=True)
    )


def ahead_of_the_best(found: Sequence[Comparison]) -> frozenset[tuple[int, str]]:
    """(n, data set) at which the favourite is significantly above the best other editor."""
    return frozenset(
        (one.n_edits, one.dataset)
        for one in found
        if one.best_other and one.significant and one.difference > 0
    )


def _pairs(averages: Averages, favourite: str) -> Iterator[Comparison]:
    for (n_edits, dataset), places in _cells(averages):
        own = averages.get((n_edits, favourite, dataset))
        others = {editor: averages[place] for place in places if (editor := place[1]) != favourite}
        if not own or not others:
            continue
        highest = max(fmean(values.values()) for values in others.values())
        for editor, theirs in others.items():
            best = fmean(theirs.values()) == highest
            yield _comparison(n_edits, dataset, editor, own, theirs, best=best)


def _cells(
    averages: Averages,
) -> Iterator[tuple[tuple[int, str], list[tuple[int, str, str]]]]:
    def cell(place: tuple[int, str, str]) -> tuple[int, str]:
        return place[0], place[2]

    for key, places in groupby(sorted(averages, key=cell), key=cell):
        yield key, list(places)


def _comparison(
    n_edits: int,
    dataset: str,
    other: str,
    own: Mapping[int, float],
    theirs: Mapping[int, float],
    *,
    best: bool,
) -> Comparison:
    seeds = sorted(own.keys() & theirs.keys())
    first, second = [own[seed] for seed in seeds], [theirs[seed] for seed in seeds]
    tested = paired(first, second)
    untested = ""
    if tested is None:
        untested = "fewer than two seeds" if len(seeds) < 2 else "the same difference at every seed"
    return Comparison(
        n_edits=n_edits,
        dataset=dataset,
        other=other,
        best_other=best,
        seeds=len(seeds),
        difference=fmean(own.values()) - fmean(theirs.values()),
        paired=tested,
        welch=welch(spread([*own.values()]), spread([*theirs.values()])),
        untested=untested,
    )


def _adjusted(ps: Sequence[float | None]) -> list[float | None]:
    """Holm's p-values of the tests that are defined."""
    defined = iter(holm([p for p in ps if p is not None]))
    return [None if p is None else next(defined) for p in ps]
