"""Means, sums and Table 4 against Table 1: hand-computed, and with one digit changed."""

from __future__ import annotations

import pytest

from bench.checks.audit import ablation, averages
from bench.checks.audit.rounding import explains
from bench.core.published import PublishedCell
from tests.checks.audit.altered import altered, bare, found, published


@pytest.mark.parametrize(
    ("average", "exact", "outside"),
    # The mean is 2.0067: 2.01 is its rounding, 2.00 needs the parts to be rounded, 1.99 is out.
    [(2.01, 1, 0), (2.00, 0, 0), (2.02, 0, 1), (1.99, 0, 1)],
)
def test_a_mean_by_hand(average: float, exact: int, outside: int) -> None:
    parts = {"Rel": 1.01, "Gen": 2.00, "Loc": 3.01, "Avg": average}
    numbers = bare(
        {PublishedCell(1, 1, "FT", "CF", metric): value for metric, value in parts.items()}
    )
    findings = found(averages.CHECK, numbers)
    assert findings["table1"].numbers["exact"] == exact
    assert findings["table1"].numbers["outside"] == outside
    assert ("table1/1/FT/CF" in findings) == bool(outside)


@pytest.mark.parametrize(
    ("total", "verdict"), [(0.3, "holds"), (0.3001, "holds"), (0.3002, "differs")]
)
def test_a_sum_by_hand(total: float, verdict: str) -> None:
    parts = {"edit_time_s": 0.1, "infer_time_s": 0.2, "total_time_s": total}
    numbers = bare(
        {PublishedCell(3, 1, "FT", "", metric): value for metric, value in parts.items()}
    )
    assert found(averages.CHECK, numbers)["table3"].verdict == verdict


def test_a_mean_is_over_its_own_data_set_and_editor() -> None:
    numbers = bare(
        {
            PublishedCell(1, n, editor, dataset, metric): 10.0 * i
            for i, (n, editor, dataset) in enumerate(
                [(1, "FT", "CF"), (1, "FT", "ZSRE"), (10, "FT", "CF"), (1, "TP", "CF")]
            )
            for metric in ("Rel", "Gen", "Loc", "Avg")
        }
    )
    assert found(averages.CHECK, numbers)["table1"].numbers["exact"] == 4


def test_an_allowance_is_out_of_reach() -> None:
    assert explains(0.0099, 0.01)
    assert not explains(98.05 - 98.04, 0.01)  # a little more than 0.01 in binary
    assert not explains(-(97.38 - 97.37), 0.01)  # a little less


def test_one_published_average_cannot_come_from_rounding() -> None:
    place = "table5/1000/RECIPE/ZSRE"
    findings = found(averages.CHECK, published())
    assert [p for p, one in findings.items() if one.verdict == "impossible"] == [place]
    repaired = altered(PublishedCell(5, 1_000, "RECIPE", "ZSRE", "Avg"), value=98.04)
    assert place not in found(averages.CHECK, repaired)


@pytest.mark.parametrize(
    "place",
    [
        PublishedCell(1, 10, "FT", "RIPE", "Gen"),
        PublishedCell(2, 1_000, "LTE", "MMLU", "accuracy"),
        PublishedCell(3, 10_000, "TP", "", "infer_time_s"),
    ],
)
def test_a_changed_number_is_noticed(place: PublishedCell) -> None:
    before = found(averages.CHECK, published())[f"table{place.table}"]
    changed = altered(place, value=published()[place].value + 1)
    after = found(averages.CHECK, changed)[f"table{place.table}"]
    assert after.numbers["outside"] == before.numbers["outside"] + 1


def test_table_4_against_table_1_and_when_it_would_agree() -> None:
    findings = found(ablation.CHECK, published())
    # 97.78, 96.68 and 97.48 make 97.3133.
    assert "97.3133; -0.0233" in findings["table4/100/Rel"].sentence
    assert {one.verdict for p, one in findings.items() if "unedited" not in p} == {"differs"}
    agreeing = altered(PublishedCell(4, 100, "RECIPE", "MEAN3", "Rel"), value=97.31)
    assert found(ablation.CHECK, agreeing)["table4/100/Rel"].verdict == "holds"


@pytest.mark.parametrize("metric", ["Rel", "Loc"])
def test_an_unedited_model_that_changes_is_impossible(metric: str) -> None:
    assert found(ablation.CHECK, published())[f"table4/unedited/{metric}"].verdict == "holds"
    changed = altered(PublishedCell(4, 1_000, "N/A", "MEAN3", metric), value=27.29)
    assert found(ablation.CHECK, changed)[f"table4/unedited/{metric}"].verdict == "impossible"
