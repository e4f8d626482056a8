"""The paper's tables checked against themselves: every finding from the printed numbers alone."""

from __future__ import annotations

from bench.checks.audit import comparisons, counts, means, spreads
from bench.checks.audit.findings import Check, Finding, Numbers, Section
from bench.tables.significance import LEVEL

__all__ = ["CHECKS", "Check", "Finding", "Numbers", "Section", "audit"]

CHECKS: tuple[Check, ...] = (
    Check(
        key="averages",
        title="Means and sums",
        rule="Avg is the mean of Rel, Gen and Loc, Table 2's last column the mean of its four "
        "tasks, Table 3's total the sum of edit and inference time. Each number may be half a unit "
        "of its last digit off.",
        find=means.averages,
    ),
    Check(
        key="ablation",
        title="Table 4 against Table 1",
        rule="Table 4 prints means over the three data sets, so its whole RECIPE is the mean of "
        "Table 1's RECIPE up to rounding. The unedited model has Loc 100 and does not change with "
        "the number of edits. The ablated rows stand in no other table.",
        find=means.ablation,
    ),
    Check(
        key="claims",
        title="Claims about the tables",
        rule="Each claim is a numeric predicate in our words, in parentheses its source; one "
        "comparison against it is enough for it to fail.",
        find=comparisons.claims,
    ),
    Check(
        key="losses",
        title="Single numbers that RECIPE loses",
        rule="Every number of RECIPE but means and totals, against the same number of every other "
        "edited model; means and totals are among the claims.",
        find=comparisons.losses,
    ),
    Check(
        key="times",
        title="Edit times and inference overheads",
        rule="The unedited model is not timed; the median of the editors that modify weights, "
        "which add nothing to an inference, stands for it.",
        find=comparisons.times,
    ),
    Check(
        key="rises",
        title="Numbers that rise with more edits",
        rule="From one printed number of edits to the next: Avg by more than "
        f"{comparisons.STDS:.0f} standard deviations of the difference, Rel, Gen and Loc, which "
        f"have none, by more than {comparisons.POINTS:.0f} point; 0.01 for rounding comes on top.",
        find=comparisons.rises,
    ),
    Check(
        key="significance",
        title="Significance from the printed spreads",
        rule="The captions call RECIPE's improvements significant at p < "
        f"{LEVEL}, two-sided. Here: Welch's t-test of RECIPE's Avg against each other editor's, ± "
        f"read as the sample standard deviation of {spreads.SEEDS} seeds. A cell fails where "
        "some p is not below the level; Holm's correction is over all tests of a table.",
        find=spreads.significance,
    ),
    Check(
        key="spread",
        title="What the printed spreads can be",
        rule=f"± is over {spreads.SEEDS} runs with different seeds; the paper does not say "
        "what the seeds change. If they only order the samples, a cell has no spread where all "
        "samples are used and their order does not matter. Bounds on numbers of samples hold with "
        "97.5% confidence and for scores that scatter as much as they can.",
        find=spreads.spreads,
    ),
    Check(
        key="rows",
        title="Counts of rows",
        rule="A cell of n edits needs n test rows and is empty without them. Counts that the paper "
        "states, against the sets as they are available.",
        find=counts.rows,
    ),
    Check(
        key="tasks",
        title="Table 2's accuracies as counts",
        rule="The unedited model is scored once, so its accuracy is a number of right answers over "
        "a number of rows; each candidate for the rows is tried. Edited models are means over "
        "several runs of edits.",
        find=counts.tasks,
    ),
)


def audit(numbers: Numbers) -> tuple[Section, ...]:
    """Every check over all published tables; the same numbers give the same findings."""
    return tuple(Section(check=check, findings=tuple(check.find(numbers))) for check in CHECKS)
