"""Tests over seeds, by hand: Welch's, the paired one, Holm's correction; RECIPE and the others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bench.core.numerics import Spread
from bench.tables.significance import (
    Averages,
    ahead_of_the_best,
    comparison_table,
    comparisons,
    holm,
    welch,
)
from tests.tables.test_editing import over_seeds


def of(mean: float, std: float | None) -> Spread:
    return Spread(mean, std, 5)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # The variance of each mean is 1: t = 2.306 / sqrt(2); equal variances leave 4 + 4 degrees.
        (of(12.306, 5**0.5), of(10.0, 5**0.5), (1.6306, 8.0, 0.1416)),
        # One side without variance: the five per cent point of 4 degrees.
        (of(2.7764, 5**0.5), of(0.0, 0.0), (2.7764, 4.0, 0.05)),
    ],
)
def test_welch_by_hand(first: Spread, second: Spread, expected: tuple[float, float, float]) -> None:
    test, other = welch(first, second), welch(second, first)  # the order changes the sign alone
    assert test is not None
    assert other is not None
    assert (test.t, test.df, test.p) == pytest.approx(expected, abs=1e-4)
    assert (test.t, test.df, test.p) == pytest.approx((-other.t, other.df, other.p))


@pytest.mark.parametrize(("first", "other"), [(None, 1.0), (1.0, None), (0.0, 0.0)])
def test_where_it_is_not_defined_there_is_none(first: float | None, other: float | None) -> None:
    assert welch(of(1.0, first), of(2.0, other)) is None


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.04 times 3, 2, 1; the last is lifted to the one before it.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.02, 0.02]) == pytest.approx([0.04, 0.04])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


RECIPE, LTE = (51, 61, 71, 82, 91), (50, 60, 70, 80, 90)


def averages(**editors: Sequence[float]) -> Averages:
    return {(10, name, "CF"): dict(enumerate(values)) for name, values in editors.items()}


def test_the_paired_test_sees_what_welchs_cannot() -> None:
    # Differences 1, 1, 1, 2, 1: mean 1.2, standard deviation sqrt(0.2), so t = 6.
    compared = (pair,) = comparisons(averages(RECIPE=RECIPE, LTE=LTE))
    assert pair.paired is not None
    assert pair.welch is not None
    assert pair.difference == pytest.approx(1.2)
    assert pair.paired.t == pytest.approx(6.0)
    assert pair.paired.p == pytest.approx(0.003883, abs=1e-6)  # t = 6 with 4 degrees of freedom
    assert pair.paired.effect == pytest.approx(1.2 / 0.2**0.5)
    assert pair.welch.p > 0.9
    assert pair.significant
    assert ahead_of_the_best(compared) == {(10, "CF")}


def test_holm_counts_all_tests_of_the_table() -> None:
    noisy = [50, 56, 74, 80, 41]  # far below on average, and far from significant
    lte, grace = comparisons(averages(RECIPE=RECIPE, LTE=LTE, GRACE=noisy))
    assert lte.paired is not None
    assert lte.paired.adjusted == pytest.approx(2 * 0.003883, abs=2e-6)
    assert (lte.other, lte.best_other, grace.best_other) == ("LTE", True, False)


def test_a_loss_is_no_lead_however_significant() -> None:
    compared = comparisons(averages(RECIPE=LTE, LTE=RECIPE))
    assert compared[0].significant
    assert ahead_of_the_best(compared) == frozenset()


def test_what_cannot_be_tested_has_a_reason() -> None:
    (single,) = comparisons(averages(RECIPE=[51.0], LTE=[50.0]))
    assert (single.paired, single.welch) == (None, None)
    assert "two seeds" in single.untested
    (equal,) = comparisons(averages(RECIPE=[51.0, 61.0], LTE=[50.0, 60.0]))
    assert "same difference" in equal.untested
    assert (equal.welch is None, equal.significant) == (False, False)


def test_without_the_favourite_there_is_nothing_to_compare() -> None:
    assert comparisons(averages(LTE=[1.0, 2.0], GRACE=[3.0, 4.0])) == ()
    assert comparisons(averages(RECIPE=[1.0, 2.0])) == ()


def test_lines_of_text_hold_both_tests_or_the_reason() -> None:
    recipe, lte = (tuple(value / 100 for value in values) for values in (RECIPE, LTE))
    (line,) = comparison_table(over_seeds(lte=lte, recipe=recipe)).rows
    assert line[:5] == ("10", "ZSRE", "LTE", "+1.20", "5")
    assert line[5:9] == ("+6.00", "0.0039", "0.0039", "+2.68")
    assert line[12] == "best"
    (line,) = comparison_table(over_seeds(lte=(0.5,), recipe=(0.51,))).rows
    assert line[5:12] == ("-",) * 7
    assert line[12].startswith("best, ")
