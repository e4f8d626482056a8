"""Means, sums, counts of rows and of right answers: by hand, and with one number changed."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, product

import pytest

from bench.checks.audit.arithmetic import (
    ablation,
    averages,
    rows,
    step_of,
    tasks,
    within_rounding,
)
from bench.core.published import PublishedCell as Cell
from tests.checks.audit.altered import altered, bare, findings, published


@pytest.mark.parametrize(
    ("average", "exact", "outside"),
    # The mean is 2.0067: 2.01 is its rounding, 2.00 needs the parts to be rounded, 1.99 is out.
    [(2.01, 1, 0), (2.00, 0, 0), (2.02, 0, 1), (1.99, 0, 1)],
)
def test_a_mean_by_hand(average: float, exact: int, outside: int) -> None:
    parts = {"Rel": 1.01, "Gen": 2.00, "Loc": 3.01, "Avg": average}
    values = {Cell(1, 1, "FT", "CF", metric): value for metric, value in parts.items()}
    every = findings(averages, bare(values))
    assert every["table1"].numbers["exact"] == exact
    assert every["table1"].numbers["outside"] == outside
    assert ("table1/1/FT/CF" in every) == bool(outside)


@pytest.mark.parametrize(
    ("total", "verdict"), [(0.3, "holds"), (0.3001, "holds"), (0.3002, "differs")]
)
def test_a_sum_by_hand(total: float, verdict: str) -> None:
    parts = {"edit_time_s": 0.1, "infer_time_s": 0.2, "total_time_s": total}
    values = {Cell(3, 1, "FT", "", metric): value for metric, value in parts.items()}
    assert findings(averages, bare(values))["table3"].verdict == verdict


def test_a_mean_is_over_its_own_data_set_and_editor() -> None:
    series = [(1, "FT", "CF"), (1, "FT", "ZSRE"), (10, "FT", "CF"), (1, "TP", "CF")]
    values = {
        Cell(1, n, editor, dataset, metric): 10.0 * i
        for i, (n, editor, dataset) in enumerate(series)
        for metric in ("Rel", "Gen", "Loc", "Avg")
    }
    assert findings(averages, bare(values))["table1"].numbers["exact"] == 4


def test_an_allowance_is_out_of_reach() -> None:
    assert within_rounding(0.0099, 0.01)
    assert not within_rounding(98.05 - 98.04, 0.01)  # a little more than 0.01 in binary
    assert not within_rounding(-(97.38 - 97.37), 0.01)  # a little less


def test_an_average_that_cannot_come_from_rounding_is_impossible_until_repaired() -> None:
    name, cell = "table5/1000/RECIPE/ZSRE", Cell(5, 1_000, "RECIPE", "ZSRE", "Avg")
    assert findings(averages)[name].verdict == "impossible"
    assert name not in findings(averages, altered(cell, value=98.04))


@pytest.mark.parametrize(
    "cell",
    [
        Cell(1, 10, "FT", "RIPE", "Gen"),
        Cell(2, 1_000, "LTE", "MMLU", "accuracy"),
        Cell(3, 10_000, "TP", "", "infer_time_s"),
    ],
)
def test_a_changed_number_is_noticed(cell: Cell) -> None:
    changed = altered(cell, value=published()[cell].value + 1)
    before, after = (
        findings(averages, numbers)[f"table{cell.table}"].numbers["outside"]
        for numbers in (published(), changed)
    )
    assert after == before + 1


def test_table_4_against_table_1_and_when_it_would_agree() -> None:
    # 97.78, 96.68 and 97.48 make 97.3133.
    assert "97.3133; -0.0233" in findings(ablation)["table4/100/Rel"].sentence
    agreeing = altered(Cell(4, 100, "RECIPE", "MEAN3", "Rel"), value=97.31)
    assert findings(ablation, agreeing)["table4/100/Rel"].verdict == "holds"


@pytest.mark.parametrize("metric", ["Rel", "Loc"])
def test_an_unedited_model_that_changes_is_impossible(metric: str) -> None:
    name = f"table4/unedited/{metric}"
    assert findings(ablation)[name].verdict == "holds"
    changed = altered(Cell(4, 1_000, "N/A", "MEAN3", metric), value=27.29)
    assert findings(ablation, changed)[name].verdict == "impossible"


@pytest.mark.parametrize("parts", [(10,), (2, 3), (4, 6), (5, 5, 6)])
def test_the_step_of_accuracies_is_that_of_all_counts(parts: tuple[int, ...]) -> None:
    means = {
        100 * sum(Fraction(k, n) for k, n in zip(counts, parts, strict=True)) / len(parts)
        for counts in product(*(range(n + 1) for n in parts))
    }
    middle = sorted(mean for mean in means if 30 <= mean <= 70)
    gaps = {b - a for a, b in pairwise(middle)}
    assert list(map(float, gaps)) == pytest.approx([step_of(parts)])


def test_a_count_over_the_rows_holds() -> None:
    numbers = altered(Cell(2, 0, "N/A", "CSQA", "accuracy"), value=38.90)
    assert findings(tasks, numbers)["CSQA/1221"].verdict == "holds"


def test_a_cell_without_rows_and_an_empty_cell_with_them_are_at_odds() -> None:
    too_long = published() | bare({Cell(1, 10_000, "FT", "RIPE", "Avg"): 1.0})
    assert findings(rows, too_long)["needed/RIPE"].verdict == "fails"
    cut = {c: n for c, n in published().items() if (c.n_edits, c.dataset) != (1_000, "ZSRE")}
    finding = findings(rows, cut)["needed/ZSRE"]
    assert finding.verdict == "fails"
    assert "empty without reason: 1,000" in finding.sentence
