"""Significance and spreads: by hand, and with one number changed."""

from __future__ import annotations

import math

import pytest

from bench.checks.audit import significant, spread
from bench.checks.audit.spread_bounds import largest_std
from bench.checks.audit.spread_sources import most_samples
from bench.core.published import Published, PublishedCell
from tests.checks.audit.altered import altered, found, published

RECIPE_5 = PublishedCell(5, 100, "RECIPE", "ZSRE", "Avg")  # 98.98 ± 0.63; LTE 97.72 ± 1.05


def test_a_test_by_hand() -> None:
    numbers = found(significant.CHECK, published())["table5/ZSRE/100"].numbers
    error = (0.63**2 + 1.05**2) / 5
    assert numbers["t"] == pytest.approx(1.26 / math.sqrt(error))
    assert numbers["df"] == pytest.approx(
        error**2 / ((0.63**2 / 5) ** 2 / 4 + (1.05**2 / 5) ** 2 / 4)
    )
    assert numbers["p"] == pytest.approx(0.0574, abs=1e-4)


def test_three_cells_of_table_5_are_not_significant_and_a_fourth_falls_to_holm() -> None:
    findings = found(significant.CHECK, published())
    failing = [place for place, one in findings.items() if one.verdict == "fails"]
    assert failing == [*(f"table5/ZSRE/{n}" for n in (100, 1_000, 10_000)), "table5/holm"]
    holm = findings["table5/holm"]
    assert (holm.numbers["tests"], holm.numbers["alone"], holm.numbers["after_holm"]) == (
        140,
        137,
        136,
    )
    assert "LTE, ZSRE, 10 edits, 0.048 to 0.19" in holm.sentence


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"std": 0.1}, "fails"),
        ({"value": 99.9}, "holds"),
        ({"value": 90.0}, "fails"),
        ({"std": None}, "not tested"),
    ],
)
def test_a_verdict_follows_its_numbers(change: dict[str, float | None], verdict: str) -> None:
    findings = found(significant.CHECK, altered(RECIPE_5, **change))
    assert findings["table5/ZSRE/100"].verdict == verdict


def test_being_significantly_worse_is_no_improvement() -> None:
    findings = found(significant.CHECK, altered(RECIPE_5, value=50.0))
    finding = findings["table5/ZSRE/100"]
    assert finding.numbers["p"] < 1e-6
    assert finding.verdict == "fails"


def test_a_table_without_spreads_is_not_tested() -> None:
    bare = {
        place: Published(value=one.value, std=None) if place.table == 6 else one
        for place, one in published().items()
    }
    untested = [
        p for p, one in found(significant.CHECK, bare).items() if one.verdict == "not tested"
    ]
    assert untested == ["table2", "table3", "table4", "table6"]


def test_a_standard_error_is_a_wider_spread() -> None:
    number = Published(value=1.0, std=2.0)
    assert significant.of_std(number).std == 2.0
    assert significant.of_standard_error(number).std == pytest.approx(2 * 5**0.5)


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
    place = "table1/possible/RECIPE/ZSRE/1"
    assert place not in found(spread.CHECK, published())
    wide = altered(
        PublishedCell(1, 1, "RECIPE", "ZSRE", "Avg"), std=1.3
    )  # 99.46: at most 0.545 x sqrt(5)
    findings = found(spread.CHECK, wide)
    assert findings[place].verdict == "impossible"
    assert findings["table1/possible"].verdict == "differs"
    fitting = altered(PublishedCell(1, 1, "RECIPE", "ZSRE", "Avg"), std=1.2)
    assert place not in found(spread.CHECK, fitting)


def test_order_alone_gives_no_spread_in_18_cells() -> None:
    findings = found(spread.CHECK, published())
    order = [place for place in findings if "/order/" in place]
    assert len(order) == 3 * (3 + 3)  # FT on three sets, three editors on CF at all 10,000 rows
    assert {findings[place].verdict for place in order} == {"impossible"}
    assert "±1.68" in findings["table1/order/CF/10000/RECIPE"].sentence


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (PublishedCell(1, 10_000, "RECIPE", "CF", "Avg"), "table1/order/CF/10000/RECIPE"),
        (PublishedCell(6, 1, "FT", "RIPE", "Avg"), "table6/order/RIPE/1/FT"),
    ],
)
def test_no_spread_at_all_is_what_order_gives(place: PublishedCell, name: str) -> None:
    assert found(spread.CHECK, altered(place, std=0.0))[name].verdict == "holds"
    assert name not in found(spread.CHECK, altered(place, std=None))
