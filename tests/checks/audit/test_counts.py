"""Rows and accuracies as counts: by hand, by enumeration, and with one number changed."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, product

import pytest

from bench.checks.audit import rows, tasks
from bench.checks.audit.tasks import step_of
from bench.core.published import Published, PublishedCell
from tests.checks.audit.altered import altered, found, published


@pytest.mark.parametrize("parts", [(10,), (2, 3), (4, 6), (5, 5, 6)])
def test_the_step_of_accuracies_is_that_of_all_counts(parts: tuple[int, ...]) -> None:
    counts = product(*(range(n + 1) for n in parts))
    means = {
        100 * sum(Fraction(k, n) for k, n in zip(some, parts, strict=True)) / len(parts)
        for some in counts
    }
    middle = sorted(mean for mean in means if 30 <= mean <= 70)
    gaps = {b - a for a, b in pairwise(middle)}
    assert list(map(float, gaps)) == pytest.approx([step_of(parts)])


@pytest.mark.parametrize(
    ("task", "over", "verdict"),
    [
        ("CSQA", "1221", "impossible"),  # 475 and 476 of 1,221 are 38.9025 and 38.9844
        ("CSQA", "1140", "impossible"),
        ("MMLU", "5871", "holds"),  # 2,439 of 5,871 are 41.5432
        ("MMLU", "14042", "not tested"),
        ("ANLI", "3200", "impossible"),
        ("ANLI", "1000+1000+1200", "not tested"),
    ],
)
def test_the_unedited_accuracies_as_counts(task: str, over: str, verdict: str) -> None:
    assert found(tasks.CHECK, published())[f"{task}/{over}"].verdict == verdict


def test_a_count_over_the_rows_holds() -> None:
    numbers = altered(PublishedCell(2, 0, "N/A", "CSQA", "accuracy"), value=38.90)
    assert found(tasks.CHECK, numbers)["CSQA/1221"].verdict == "holds"


def test_chance_by_hand() -> None:
    numbers = found(tasks.CHECK, published())["ANLI/chance"].numbers
    assert numbers["chance"] == pytest.approx(100 / 3)
    # (34.04 - 33.33) / sqrt(34.04 x 65.96 / 3,200)
    assert numbers["standard_errors"] == pytest.approx(0.844, abs=1e-3)


def test_the_rows_allow_what_is_printed() -> None:
    findings = found(rows.CHECK, published())
    assert [findings[f"needed/{label}"].verdict for label in ("ZSRE", "CF", "RIPE")] == [
        "holds"
    ] * 3
    assert [
        findings[f"needed/{label}"].numbers["left_out"] for label in ("ZSRE", "CF", "RIPE")
    ] == [9_009, 0, 388]
    assert [findings[f"stated/{name}"].verdict for name in ("RIPE", "MMLU", "CSQA")] == [
        "holds",
        "differs",
        "differs",
    ]


def test_a_cell_without_rows_and_an_empty_one_with_them_are_at_odds() -> None:
    too_long = published() | {
        PublishedCell(1, 10_000, "FT", "RIPE", "Avg"): Published(value=1.0, std=None)
    }
    assert found(rows.CHECK, too_long)["needed/RIPE"].verdict == "fails"
    cut = {p: one for p, one in published().items() if (p.n_edits, p.dataset) != (1_000, "ZSRE")}
    finding = found(rows.CHECK, cut)["needed/ZSRE"]
    assert finding.verdict == "fails"
    assert "empty without reason: 1,000" in finding.sentence
