"""Welch's test and Holm's correction, by hand."""

from __future__ import annotations

import pytest

from bench.core.numerics import Spread
from bench.tables.significance import holm, welch


def of(mean: float, std: float | None) -> Spread:
    return Spread(mean, std, 5)


def test_equal_spreads_by_hand() -> None:
    found = welch(of(12.306, 5**0.5), of(10.0, 5**0.5))
    assert found is not None
    # The variance of each mean is 1: t = 2.306 / sqrt(2); equal variances leave 4 + 4 degrees.
    assert found.t == pytest.approx(1.6306, abs=1e-4)
    assert found.df == pytest.approx(8.0)
    assert found.p == pytest.approx(0.1416, abs=1e-4)


def test_the_five_per_cent_point_of_four_degrees() -> None:
    found = welch(of(2.7764, 5**0.5), of(0.0, 0.0))  # one side without variance: 4 degrees
    assert found is not None
    assert found.df == pytest.approx(4.0)
    assert found.p == pytest.approx(0.05, abs=1e-5)


def test_the_order_changes_the_sign_alone() -> None:
    one, other = welch(of(1.0, 0.5), of(2.0, 0.7)), welch(of(2.0, 0.7), of(1.0, 0.5))
    assert one is not None
    assert other is not None
    assert (one.t, one.df, one.p) == pytest.approx((-other.t, other.df, other.p))


@pytest.mark.parametrize(("one", "other"), [(None, 1.0), (1.0, None), (0.0, 0.0)])
def test_where_it_is_not_defined_there_is_none(one: float | None, other: float | None) -> None:
    assert welch(of(1.0, one), of(2.0, other)) is None


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.04 times 3, 2, 1; the last is lifted to the one before it.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.02, 0.02]) == pytest.approx([0.04, 0.04])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
