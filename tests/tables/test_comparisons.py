"""RECIPE against the others over seeds: tests on small whole numbers."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bench.tables.comparisons import Averages, ahead_of_the_best, comparisons

SEEDS = range(5)


def averages(**editors: Sequence[float]) -> Averages:
    return {
        (10, name.replace("_", "-"), "CF"): dict(zip(SEEDS, values, strict=False))
        for name, values in editors.items()
    }


def test_the_paired_test_sees_what_welchs_cannot() -> None:
    # Differences 1, 1, 1, 2, 1: mean 1.2, standard deviation sqrt(0.2), so t = 6.
    found = comparisons(averages(RECIPE=[51, 61, 71, 82, 91], LTE=[50, 60, 70, 80, 90]))
    (one,) = found
    assert one.paired is not None
    assert one.welch is not None
    assert one.difference == pytest.approx(1.2)
    assert one.paired.t == pytest.approx(6.0)
    assert one.paired.p == pytest.approx(0.003883, abs=1e-6)  # t = 6 with 4 degrees of freedom
    assert one.paired.effect == pytest.approx(1.2 / 0.2**0.5)
    assert one.welch.p > 0.9
    assert one.significant
    assert ahead_of_the_best(found) == {(10, "CF")}


def test_holm_counts_all_tests_of_the_table() -> None:
    noisy = [50, 56, 74, 80, 41]  # far below on average, and far from significant
    found = comparisons(
        averages(RECIPE=[51, 61, 71, 82, 91], LTE=[50, 60, 70, 80, 90], GRACE=noisy)
    )
    by_other = {one.other: one for one in found}
    assert by_other["LTE"].adjusted_paired == pytest.approx(2 * 0.003883, abs=2e-6)
    assert by_other["LTE"].best_other
    assert not by_other["GRACE"].best_other


def test_a_loss_is_no_lead_however_significant() -> None:
    found = comparisons(averages(RECIPE=[50, 60, 70, 80, 90], LTE=[51, 61, 71, 82, 91]))
    assert found[0].significant
    assert ahead_of_the_best(found) == frozenset()


def test_what_cannot_be_tested_is_said() -> None:
    (one,) = comparisons(averages(RECIPE=[51.0], LTE=[50.0]))
    assert (one.paired, one.welch, one.untested) == (None, None, "fewer than two seeds")
    (one,) = comparisons(averages(RECIPE=[51.0, 61.0], LTE=[50.0, 60.0]))
    assert one.untested == "the same difference at every seed"
    assert one.welch is not None
    assert not one.significant


def test_without_the_favourite_there_is_nothing_to_compare() -> None:
    assert comparisons(averages(LTE=[1.0, 2.0], GRACE=[3.0, 4.0])) == ()
    assert comparisons(averages(RECIPE=[1.0, 2.0])) == ()
