"""Rank correlations, by hand where there are few editors."""

from __future__ import annotations

import dataclasses

import pytest

from bench.core.grids import get_table
from bench.core.published import Published
from bench.tables.correlation import correlate, correlations, rank_table
from bench.tables.editing import EditingView, view
from tests.tables.records import cell, record


def test_three_editors_by_hand() -> None:
    line = correlate(10, None, [1.0, 2.0, 3.0], [10.0, 20.0, 40.0])
    # The six orders have rho 1, 0.5, 0.5, -0.5, -0.5, -1.
    assert line.rho == pytest.approx(1.0)
    assert line.p == pytest.approx(2 / 6)
    assert line.chance == pytest.approx((-0.9375, 0.9375))


def test_the_interval_of_rho_by_hand() -> None:
    # Ranks of five editors, two neighbours exchanged: rho = 1 - 6 x 2 / (5 x 24) = 0.9.
    line = correlate(1, None, [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 3.0, 4.0, 5.0])
    assert line.rho == pytest.approx(0.9)
    # atanh(0.9) = 1.4722, 1.96 sqrt((1 + 0.405) / 2) = 1.6428; tanh of -0.1706 and 3.1150.
    assert line.interval == pytest.approx((-0.1689, 0.9961), abs=2e-4)


def test_ties_share_their_mean_rank() -> None:
    line = correlate(1, "zsre", [1.0, 2.0, 2.0, 4.0], [1.0, 2.0, 3.0, 4.0])
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 x 5).
    assert line.rho == pytest.approx(0.9486833)


def test_eleven_editors_draw_the_same_permutations_each_time() -> None:
    ours = [float(i) for i in range(11)]
    theirs = [float((i * 7) % 11) for i in range(11)]
    line = correlate(1, None, ours, theirs)
    assert line == correlate(1, None, ours, theirs)
    # Of 11 values, 0.618 is the two-sided five per cent point of Spearman's rho.
    assert line.chance == pytest.approx((-0.6, 0.6), abs=0.03)
    assert correlate(1, None, ours, ours).p == pytest.approx(1 / 10_000)


@pytest.mark.parametrize(
    ("ours", "theirs"), [([], []), ([1.0, 2.0], [2.0, 1.0]), ([5.0, 5.0, 5.0], [1.0, 2.0, 3.0])]
)
def test_where_there_is_no_order_there_is_no_correlation(
    ours: list[float], theirs: list[float]
) -> None:
    assert correlate(1, None, ours, theirs).rho is None


@pytest.fixture
def shown() -> EditingView:
    """Four editors on two sets at 10 edits; the published averages are set here."""
    scores = {"ft": 0.1, "rome": 0.2, "grace": 0.3, "recipe": 0.4}
    cells = [cell(e, d, 10, 0) for e in scores for d in ("zsre", "counterfact")]
    done = [
        record(c, rel=scores[c.editor], gen=scores[c.editor], loc=scores[c.editor])
        for c in cells[:-1]
    ]
    published = {
        "ZSRE": {"FT": 1.0, "ROME": 3.0, "GRACE": 2.0, "RECIPE": 4.0},
        "CF": {"FT": 9.0, "ROME": 5.0, "GRACE": 1.0, "RECIPE": 0.0},
    }
    whole = view(get_table(1), cells, done)
    numbers = (
        dataclasses.replace(
            n, published=Published(value=published[n.dataset][n.row.label], std=None)
        )
        for n in whole.numbers
    )
    return dataclasses.replace(whole, numbers=tuple(numbers))


def test_each_data_set_and_their_mean_over_editors_that_have_both(shown: EditingView) -> None:
    zsre, cf, both = correlations(shown)
    assert (zsre.dataset, zsre.editors) == ("ZSRE", 4)
    assert zsre.rho == pytest.approx(0.8)
    assert (cf.dataset, cf.editors, both.dataset, both.editors) == ("CF", 3, None, 3)
    assert cf.rho == pytest.approx(-1.0)
    # Published means 5, 4, 1.5 against ours 10, 20, 30.
    assert both.rho == pytest.approx(-1.0)


def test_the_table_claims_an_order_alone(shown: EditingView) -> None:
    table = rank_table(shown)
    assert [row[:4] for row in table.rows] == [
        ("10", "ZSRE", "4", "+0.80"), ("10", "CF", "3", "-1.00"), ("10", "all", "3", "-1.00")
    ]  # fmt: skip
    caption = " ".join(table.caption)
    assert "order of the editors alone" in caption
    assert "reproduc" not in caption
