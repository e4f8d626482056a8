"""Rows and accuracies as counts: by hand, by enumeration, and with one number changed."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, product

import pytest

from bench.checks.audit.arithmetic import rows, step_of, tasks
from bench.core.published import PublishedCell as Cell
from tests.checks.audit.altered import altered, bare, findings, published


@pytest.mark.parametrize("parts", [(10,), (2, 3), (4, 6), (5, 5, 6)])
def test_the_step_of_accuracies_is_that_of_all_counts(parts: tuple[int, ...]) -> None:
    means = {
        100 * sum(Fraction(k, n) for k, n in zip(counts, parts, strict=True)) / len(parts)
        for counts in product(*(range(n + 1) for n in parts))
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
    assert findings(tasks)[f"{task}/{over}"].verdict == verdict


def test_a_count_over_the_rows_holds() -> None:
    numbers = altered(Cell(2, 0, "N/A", "CSQA", "accuracy"), value=38.90)
    assert findings(tasks, numbers)["CSQA/1221"].verdict == "holds"


def test_chance_by_hand() -> None:
    numbers = findings(tasks)["ANLI/chance"].numbers
    assert numbers["chance"] == pytest.approx(100 / 3)
    # (34.04 - 33.33) / sqrt(34.04 x 65.96 / 3,200)
    assert numbers["standard_errors"] == pytest.approx(0.844, abs=1e-3)


def test_the_rows_allow_what_is_printed() -> None:
    every = findings(rows)
    needed = {label: every[f"needed/{label}"] for label in ("ZSRE", "CF", "RIPE")}
    assert {finding.verdict for finding in needed.values()} == {"holds"}
    left_out = {label: finding.numbers["left_out"] for label, finding in needed.items()}
    assert left_out == {"ZSRE": 9_009, "CF": 0, "RIPE": 388}
    stated = [every[f"stated/{name}"].verdict for name in ("RIPE", "MMLU", "CSQA")]
    assert stated == ["holds", "differs", "differs"]


def test_a_cell_without_rows_and_an_empty_cell_with_them_are_at_odds() -> None:
    too_long = published() | bare({Cell(1, 10_000, "FT", "RIPE", "Avg"): 1.0})
    assert findings(rows, too_long)["needed/RIPE"].verdict == "fails"
    cut = {c: n for c, n in published().items() if (c.n_edits, c.dataset) != (1_000, "ZSRE")}
    finding = findings(rows, cut)["needed/ZSRE"]
    assert finding.verdict == "fails"
    assert "empty without reason: 1,000" in finding.sentence
