"""Losses, rises, times and claims: what is listed, and that it follows the numbers."""

from __future__ import annotations

import pytest

from bench.checks.audit.comparisons import claims, losses, rises, threshold, times
from bench.core.published import Published
from bench.core.published import PublishedCell as Cell
from tests.checks.audit.altered import altered, bare, findings


@pytest.mark.parametrize(("value", "lost"), [(99.38, 0), (99.40, 1), (99.41, 1)])
def test_a_tie_is_no_win(value: float, lost: int) -> None:
    numbers = altered(Cell(1, 1, "GRACE", "ZSRE", "Rel"), value=value)  # RECIPE has 99.40
    assert findings(losses, numbers)["table1"].numbers["lost"] == lost


def test_less_time_is_better() -> None:
    numbers = altered(Cell(3, 10_000, "LTE", "", "edit_time_s"), value=0.0079)
    assert "table3/10000/edit_time_s" not in findings(losses, numbers)


def test_the_threshold_of_a_rise_by_hand() -> None:
    without = Published(value=1.0, std=None)
    assert threshold(without, without) == 1.0
    # Two standard deviations of a difference of 0.3 and 0.4.
    pair = Published(value=0, std=0.3), Published(value=0, std=0.4)
    assert threshold(*pair) == pytest.approx(1.0)


@pytest.mark.parametrize(("value", "rising"), [(39.56, True), (39.54, False)])
def test_a_rise_is_more_than_a_point_and_its_rounding(value: float, *, rising: bool) -> None:
    cell = Cell(5, 10, "ROME", "RIPE", "Gen")  # 38.54 + 1.01 = 39.55
    numbers = altered(cell._replace(n_edits=1), value=38.54) | bare({cell: value})
    assert ("table5/ROME/RIPE/1-10" in findings(rises, numbers)) == rising


def test_times_follow_the_table() -> None:
    every = findings(times)
    assert list(every["table3/order"].numbers)[:3] == ["LTE", "RECIPE", "MEND"]
    # 0.0936 over the median of 0.0586, 0.0587, 0.0589, 0.0589, 0.0590 and 0.0591.
    assert every["table3/overhead"].numbers["GRACE"] == pytest.approx(0.0936 / 0.0589 - 1)
    slower = findings(times, altered(Cell(3, 10_000, "LTE", "", "edit_time_s"), value=1.0))
    assert list(slower["table3/order"].numbers)[:3] == ["RECIPE", "MEND", "LTE"]


def test_a_claim_follows_the_table() -> None:
    key = "recipe-best-average/table6"
    assert findings(claims)[key].verdict == "holds"
    # RECIPE has 97.95.
    finding = findings(claims, altered(Cell(6, 10, "LTE", "CF", "Avg"), value=98.0))[key]
    assert (finding.verdict, finding.numbers["against"]) == ("fails", 1)
    assert "CF, 10 edits: 97.95, LTE 98.00" in finding.sentence
    assert finding.numbers["smallest_margin"] == pytest.approx(-0.55)
