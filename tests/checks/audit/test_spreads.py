"""Significance and spreads: by hand, and with one number changed."""

from __future__ import annotations

import math

import pytest

from bench.checks.audit.spreads import largest_std, most_samples, significance, spreads
from bench.core.published import PublishedCell as Cell
from tests.checks.audit.altered import altered, bare, findings, published

RECIPE_5 = Cell(5, 100, "RECIPE", "ZSRE", "Avg")  # 98.98 ± 0.63; LTE 97.72 ± 1.05


@pytest.mark.parametrize(
    ("change", "t", "scale"),
    [({}, 1.26, 1.0), ({"std": 0.1, "value": 98.0}, 0.28, 0.1 / 0.63)],
)
def test_a_test_by_hand(change: dict[str, float | None], t: float, scale: float) -> None:
    numbers = findings(significance, altered(RECIPE_5, **change))["table5/ZSRE/100"].numbers
    own, other = (0.63 * scale) ** 2 / 5, 1.05**2 / 5
    assert numbers["t"] == pytest.approx(t / math.sqrt(own + other))
    assert numbers["df"] == pytest.approx((own + other) ** 2 / (own**2 / 4 + other**2 / 4))
    if not change:
        assert numbers["p"] == pytest.approx(0.0574, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"std": 0.1}, "fails"),
        ({"value": 99.9}, "holds"),
        ({"value": 90.0}, "fails"),
        ({"value": 50.0}, "fails"),  # significantly worse
        ({"std": None}, "not tested"),
    ],
)
def test_a_verdict_follows_its_numbers(change: dict[str, float | None], verdict: str) -> None:
    finding = findings(significance, altered(RECIPE_5, **change))["table5/ZSRE/100"]
    assert finding.verdict == verdict
    if change.get("value") == 50.0:
        assert finding.numbers["p"] < 1e-6


def test_a_table_without_spreads_is_not_tested() -> None:
    table_6 = bare({cell: n.value for cell, n in published().items() if cell.table == 6})
    every = findings(significance, published() | table_6)
    untested = [name for name, finding in every.items() if finding.verdict == "not tested"]
    assert untested == ["table2", "table3", "table4", "table6"]


def test_a_standard_error_is_a_wider_spread() -> None:
    """At ± = 0.4 over five runs, 1.26 points are significant, and not at 0.4 x sqrt(5)."""
    narrow = published() | altered(RECIPE_5, std=0.4)
    lte = RECIPE_5._replace(editor="LTE")
    narrow[lte] = altered(lte, std=0.4)[lte]
    every = findings(significance, narrow)
    assert every["table5/ZSRE/100"].verdict == "holds"
    before, after = (e["table5/standard-error"].numbers for e in (findings(significance), every))
    assert after["significant_as_std"] == before["significant_as_std"] + 1
    assert after["significant_as_error"] == before["significant_as_error"]


@pytest.mark.parametrize(
    ("mean", "largest"),
    # One of five at 100: (10,000 - 5 x 400) / 4; two and a half; one of five at 5; none to spread.
    [(20.0, 2_000**0.5), (50.0, 50.0), (1.0, 5**0.5), (0.0, 0.0), (100.0, 0.0)],
)
def test_the_largest_standard_deviation_by_hand(mean: float, largest: float) -> None:
    assert largest_std(mean, 5) == pytest.approx(largest)
    assert largest_std(100 - mean, 5) == pytest.approx(largest)


def test_the_number_of_samples_by_hand() -> None:
    # The variance of a coin over N is 2,500 / N; 11.143 is chi-squared's 97.5 % point at 4.
    assert most_samples(50.0, 1.0) == pytest.approx(2_500 * 11.1433 / 4, rel=1e-5)
    assert most_samples(50.0, 2.0) == pytest.approx(most_samples(50.0, 1.0) / 4)


def test_a_spread_that_five_values_cannot_have() -> None:
    cell, name = Cell(1, 1, "RECIPE", "ZSRE", "Avg"), "table1/possible/RECIPE/ZSRE/1"
    wide = findings(spreads, altered(cell, std=1.3))  # 99.46: at most 0.545 x sqrt(5)
    assert wide[name].verdict == "impossible"
    assert wide["table1/possible"].verdict == "differs"
    assert name not in findings(spreads)
    assert name not in findings(spreads, altered(cell, std=1.2))


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        (Cell(1, 10_000, "RECIPE", "CF", "Avg"), "table1/order/CF/10000/RECIPE"),
        (Cell(6, 1, "FT", "RIPE", "Avg"), "table6/order/RIPE/1/FT"),
    ],
)
def test_no_spread_at_all_is_what_order_gives(cell: Cell, name: str) -> None:
    assert findings(spreads, altered(cell, std=0.0))[name].verdict == "holds"
    assert name not in findings(spreads, altered(cell, std=None))
