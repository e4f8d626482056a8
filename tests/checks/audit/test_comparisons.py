"""Losses, rises, times and claims: what is listed, and that it follows the numbers."""

from __future__ import annotations

import pytest

from bench.checks.audit import claims, losses, rises, times
from bench.core.published import Published, PublishedCell
from tests.checks.audit.altered import altered, found, published


def test_every_single_number_that_recipe_loses() -> None:
    findings = found(losses.CHECK, published())
    lost = {table: findings[f"table{table}"].numbers["lost"] for table in (1, 2, 3, 5, 6)}
    assert lost == {1: 0, 2: 0, 3: 2, 5: 2, 6: 4}
    first = findings["table5/CF/1/Rel"].numbers
    assert list(first) == ["RECIPE", "ROME", "GRACE", "TP", "MEMIT", "LTE"]  # the best first
    assert first["ROME"] == 99.62


@pytest.mark.parametrize(("value", "lost"), [(99.38, 0), (99.40, 1), (99.41, 1)])
def test_a_tie_is_no_win(value: float, lost: int) -> None:
    numbers = altered(PublishedCell(1, 1, "GRACE", "ZSRE", "Rel"), value=value)  # RECIPE has 99.40
    assert found(losses.CHECK, numbers)["table1"].numbers["lost"] == lost


def test_less_time_is_better() -> None:
    numbers = altered(PublishedCell(3, 10_000, "LTE", "", "edit_time_s"), value=0.0079)
    assert "table3/10000/edit_time_s" not in found(losses.CHECK, numbers)


def test_the_threshold_of_a_rise_by_hand() -> None:
    bare = Published(value=1.0, std=None)
    assert rises.threshold(bare, bare) == 1.0
    # Two standard deviations of a difference of 0.3 and 0.4.
    assert rises.threshold(
        Published(value=0, std=0.3), Published(value=0, std=0.4)
    ) == pytest.approx(1.0)


@pytest.mark.parametrize(("value", "rising"), [(39.56, True), (39.54, False)])
def test_a_rise_is_more_than_a_point_and_its_rounding(value: float, *, rising: bool) -> None:
    place = PublishedCell(5, 10, "ROME", "RIPE", "Gen")  # 38.54 + 1.01 = 39.55
    before = altered(place._replace(n_edits=1), value=38.54)
    assert (
        "table5/ROME/RIPE/1-10"
        in found(rises.CHECK, before | {place: Published(value=value, std=None)})
    ) == rising


def test_malmen_rises_from_1_to_10_edits_everywhere() -> None:
    findings = found(rises.CHECK, published())
    for table in (1, 5, 6):
        for dataset in ("ZSRE", "CF", "RIPE"):
            assert findings[f"table{table}/MALMEN/{dataset}/1-10"].numbers["Avg"] > 15
    assert findings["table1/MALMEN/ZSRE/1-10"].numbers["Rel"] == pytest.approx(49.85)


def test_times_follow_the_table() -> None:
    findings = found(times.CHECK, published())
    assert list(findings["table3/order"].numbers)[:3] == ["LTE", "RECIPE", "MEND"]
    # 0.0936 over the median of 0.0586, 0.0587, 0.0589, 0.0589, 0.0590 and 0.0591.
    assert findings["table3/overhead"].numbers["GRACE"] == pytest.approx(0.0936 / 0.0589 - 1)
    slower = altered(PublishedCell(3, 10_000, "LTE", "", "edit_time_s"), value=1.0)
    assert list(found(times.CHECK, slower)["table3/order"].numbers)[:3] == ["RECIPE", "MEND", "LTE"]


def test_a_claim_follows_the_table() -> None:
    key = "recipe-best-average/table6"
    assert found(claims.CHECK, published())[key].verdict == "holds"
    beaten = altered(PublishedCell(6, 10, "LTE", "CF", "Avg"), value=98.0)  # RECIPE has 97.95
    finding = found(claims.CHECK, beaten)[key]
    assert finding.verdict == "fails"
    assert "CF, 10 edits: 97.95, LTE 98.00" in finding.sentence
    assert finding.numbers["against"] == 1
    assert finding.numbers["smallest_margin"] == pytest.approx(-0.05)
