"""Welch's tests, from printed means and spreads, of what the captions call significant."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.checks.audit.findings import Check, Finding, Numbers, shown
from bench.checks.claims.base import EDITING_TABLES, RECIPE
from bench.core.numerics import Spread
from bench.core.published import Published, PublishedCell, rivals
from bench.tables.significance import LEVEL, Welch, holm, welch

SEEDS = 5  # the paper's number of runs
AVERAGE = "Avg"  # the only metric with a printed spread


@dataclass(frozen=True, kw_only=True)
class _Test:
    """RECIPE against another editor in one cell."""

    place: PublishedCell  # RECIPE's
    rival: PublishedCell
    found: Welch
    corrected: float  # Holm's p over the table

    @property
    def significant(self) -> bool:
        """RECIPE is better, at the captions' level."""
        return self.found.t > 0 and self.found.p < LEVEL

    @property
    def survives(self) -> bool:
        """It is still so when all tests of the table are counted."""
        return self.found.t > 0 and self.corrected < LEVEL


def find(numbers: Numbers) -> Iterator[Finding]:
    """Each table cell by cell, then over all its tests, then what `±` means for them."""
    for table in dict.fromkeys(place.table for place in numbers):
        bare = all(one.std is None for place, one in numbers.items() if place.table == table)
        if table in EDITING_TABLES and not bare:
            yield from _table(numbers, table)
        elif bare:
            yield Finding(
                place=f"table{table}",
                verdict="not tested",
                sentence=f"Table {table} prints no spread; nothing in it can be tested.",
            )


def _table(numbers: Numbers, table: int) -> Iterator[Finding]:
    places = [p for p in numbers if (p.table, p.editor, p.metric) == (table, RECIPE, AVERAGE)]
    tests = _tests(numbers, places, of_std)
    for place in places:
        yield _cell(numbers, place, [test for test in tests if test.place == place])
    yield _corrected(table, tests)
    yield _as_standard_errors(table, tests, _tests(numbers, places, of_standard_error))


def of_std(number: Published) -> Spread:
    """The printed `±` read as the sample standard deviation over the seeds."""
    return Spread(number.value, number.std, SEEDS)


def of_standard_error(number: Published) -> Spread:
    """The printed `±` read as the standard error of the mean."""
    std = None if number.std is None else number.std * math.sqrt(SEEDS)
    return Spread(number.value, std, SEEDS)


def _tests(
    numbers: Numbers, places: Sequence[PublishedCell], read: Callable[[Published], Spread]
) -> list[_Test]:
    """Every defined test of one table, against each other editor."""
    pairs = [(place, rival) for place in places for rival in rivals(numbers, place)]
    found = [welch(read(numbers[place]), read(numbers[rival])) for place, rival in pairs]
    defined = [
        (place, rival, one)
        for (place, rival), one in zip(pairs, found, strict=True)
        if one is not None
    ]
    corrected = holm([one.p for *_, one in defined])
    return [
        _Test(place=place, rival=rival, found=one, corrected=p)
        for (place, rival, one), p in zip(defined, corrected, strict=True)
    ]


def _cell(numbers: Numbers, place: PublishedCell, tests: Sequence[_Test]) -> Finding:
    """RECIPE against the best other editor, and how many of the others it is better than."""
    other = max(rivals(numbers, place), key=lambda rival: numbers[rival].value)
    best = next((test for test in tests if test.rival == other), None)
    if best is None:
        return _untested(place, other)
    weak = [test.rival.editor for test in tests if not test.significant]
    rest = (
        f"not significant against {', '.join(weak)}"
        if weak
        else f"significant against all {len(tests)}"
    )
    return Finding(
        place=f"table{place.table}/{place.dataset}/{place.n_edits}",
        verdict="fails" if weak else "holds",
        sentence=f"Table {place.table}, {place.where}: RECIPE {shown(place, numbers[place])}, best "
        f"other {other.editor} {shown(other, numbers[other])}: t = {best.found.t:.2f}, df = "
        f"{best.found.df:.1f}, p = {best.found.p:.2g}, after Holm {best.corrected:.2g}; "
        f"{rest}.",
        numbers={
            "t": best.found.t,
            "df": best.found.df,
            "p": best.found.p,
            "p_holm": best.corrected,
            "not_significant": len(weak),
        },
    )


def _untested(place: PublishedCell, other: PublishedCell) -> Finding:
    return Finding(
        place=f"table{place.table}/{place.dataset}/{place.n_edits}",
        verdict="not tested",
        sentence=f"Table {place.table}, {place.where}: RECIPE and the best other, {other.editor}, "
        "have no spreads to test with.",
    )


def _corrected(table: int, tests: Sequence[_Test]) -> Finding:
    lost = [test for test in tests if test.significant and not test.survives]
    listed = "; ".join(
        f"{test.rival.editor}, {test.place.where}, {test.found.p:.2g} to {test.corrected:.2g}"
        for test in lost
    )
    alone = sum(test.significant for test in tests)
    return Finding(
        place=f"table{table}/holm",
        verdict="holds" if alone - len(lost) == len(tests) else "fails",
        sentence=f"Table {table}: of {len(tests)} tests {alone} have p < {LEVEL} alone, "
        f"{alone - len(lost)} after Holm" + (f"; lost: {listed}." if lost else "."),
        numbers={"tests": len(tests), "alone": alone, "after_holm": alone - len(lost)},
    )


def _as_standard_errors(table: int, tests: Sequence[_Test], wider: Sequence[_Test]) -> Finding:
    cells, doubtful = (
        len({test.place for test in some})
        for some in (wider, [test for test in wider if not test.significant])
    )
    alone = sum(test.significant for test in tests)
    return Finding(
        place=f"table{table}/standard-error",
        verdict="noted",
        sentence=f"Table {table} does not say what ± is: read as standard deviations {alone} of "
        f"{len(tests)} tests are significant, read as standard errors of the mean "
        f"{len(wider) - sum(not test.significant for test in wider)}, and {doubtful} of {cells} "
        "cells have an editor that RECIPE is not significantly better than.",
        numbers={
            "tests": len(tests),
            "significant_as_std": alone,
            "significant_as_error": sum(test.significant for test in wider),
            "doubtful_cells": doubtful,
        },
    )


CHECK = Check(
    key="significance",
    title="Significance from the printed spreads",
    rule="The captions call RECIPE's improvements significant at p < "
    f"{LEVEL}, two-sided. Here: Welch's t-test of RECIPE's Avg against each other editor's, ± read "
    f"as the sample standard deviation of {SEEDS} seeds. A cell fails where some p is not below "
    "the level; Holm's correction is over all tests of a table.",
    find=find,
)
