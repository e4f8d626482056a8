"""Tests over seeds by hand: Welch's, the paired one, Holm's correction; rank correlations."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from bench.core.cells import Cell
from bench.core.grids import get_table
from bench.core.numerics import Spread
from bench.core.published import Published
from bench.tables.correlation import correlate, correlations, rank_table
from bench.tables.editing import EditingView, view
from bench.tables.significance import (
    Averages,
    ahead_of_the_best,
    comparison_table,
    comparisons,
    holm,
    shares_samples,
    welch,
)
from tests.core.test_cells import CELL
from tests.support.records import cell, scored_record
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


def test_seeds_with_common_samples_are_not_tested() -> None:
    """Five runs over the same samples agree, and a lead of 0.01 would have p = 1e-4."""
    close = averages(RECIPE=[50.01, 50.0101, 50.01, 50.0101, 50.01], LTE=[50.0] * 5)
    (tested,) = comparisons(close)
    assert tested.significant
    (pair,) = comparisons(close, sharing={(10, "CF")})
    assert (pair.paired, pair.welch, pair.significant) == (None, None, False)
    assert pair.untested == "seeds share samples"
    for changes in ({"limit": None, "part": None}, {"varies": "training", "part": None}):
        shown = over_seeds(changes, lte=(0.5, 0.6), recipe=(0.51, 0.62))
        assert comparison_table(shown).rows[0][12] == "best, seeds share samples"


def test_what_two_seeds_draw_from_a_split() -> None:
    def seeds(**changes: Any) -> list[Cell]:
        return [dataclasses.replace(CELL, seed=seed, **changes) for seed in (0, 1)]

    first, second = seeds(limit=50)
    parts = [first, dataclasses.replace(second, part=1)]
    assert not shares_samples(parts, 100)
    assert shares_samples([first, second], 100)  # each has half of them, drawn alone
    assert shares_samples(seeds(limit=None), 100)
    assert not shares_samples([first, first], 100)  # one seed, of two records


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


# Rank correlations, by hand where there are few editors.


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
        scored_record(c, rel=scores[c.editor], gen=scores[c.editor], loc=scores[c.editor])
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
