"""Counts of rows: those that the tables need, and those that printed accuracies can be of."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bench.checks.audit.findings import Finding, Numbers, Verdict
from bench.checks.audit.means import within_rounding
from bench.checks.claims.claim import EDITING_TABLES
from bench.checks.claims.judging import ABILITY_TABLE
from bench.core.names import DATASETS
from bench.core.published import UNEDITED, PublishedCell, distinct
from bench.datasets import get_dataset

# Test rows that the paper's description of its data states.
STATED = {"RIPE": 1_388, "MMLU": 5_871, "CSQA": 1_140}
# Rows of the public sets that the released code scores: all 57 test files of MMLU, the validation
# split of CSQA (the answers of its test split are not public), the three test rounds of ANLI.
SCORED = {"MMLU": (14_042,), "CSQA": (1_221,), "ANLI": (1_000, 1_000, 1_200)}


# Each multiple-choice task: its options, and the rows that the unedited model may be scored on, by
# description; accuracies are averaged over the parts.
TASKS: tuple[tuple[str, int, dict[str, tuple[int, ...]]], ...] = (
    (
        "CSQA",
        5,
        {"the validation split": SCORED["CSQA"], "the test split": (STATED["CSQA"],)},
    ),
    (
        "MMLU",
        4,
        {
            "the test rows that the paper states": (STATED["MMLU"],),
            "the test files of all subjects": SCORED["MMLU"],
        },
    ),
    (
        "ANLI",
        3,
        {
            "the three test rounds": (sum(SCORED["ANLI"]),),
            "the mean of the test rounds": SCORED["ANLI"],
        },
    ),
)


def rows(numbers: Numbers) -> Iterator[Finding]:
    """What each edit set must have for the printed cells, then each stated count."""
    for key in DATASETS:
        dataset = get_dataset(key)
        yield _needed(numbers, dataset.label, dataset.files["test"].rows)
    ripe = get_dataset("ripple_edits").files["test"].rows
    for name, available, where in (
        ("RIPE", ripe, "in the released test file"),
        ("MMLU", sum(SCORED["MMLU"]), "in the test files of its 57 subjects"),
        ("CSQA", sum(SCORED["CSQA"]), "in the validation split, whose answers are public"),
    ):
        yield Finding(
            f"stated/{name}",
            "holds" if STATED[name] == available else "differs",
            f"{name}: {STATED[name]:,} test rows are stated, there are {available:,} {where}.",
            {"stated": STATED[name], "rows": available},
        )


def _needed(numbers: Numbers, label: str, available: int) -> Finding:
    """A cell of n edits needs n rows, and one that is left empty should lack them."""
    counts = {n for t in EDITING_TABLES for n in distinct(numbers, t, lambda cell: cell.n_edits)}
    printed = {c.n_edits for c in numbers if c.table in EDITING_TABLES and c.dataset == label}
    allowed = sorted(n for n in counts if n <= available)
    wrong = ", ".join(f"{n:,}" for n in sorted(printed.symmetric_difference(allowed)))
    largest = max(printed)
    outcome = f"printed against that or empty without reason: {wrong}" if wrong else "as printed"
    return Finding(
        f"needed/{label}",
        "fails" if wrong else "holds",
        f"{label}: {available:,} test rows allow {', '.join(f'{n:,}' for n in allowed)} edits, "
        f"{outcome}; blocks of {largest:,} leave {available % largest:,} rows out.",
        {"rows": available, "largest": largest, "left_out": available % largest},
    )


def tasks(numbers: Numbers) -> Iterator[Finding]:
    """Each task: whether the unedited accuracy is a count over its rows, how far from chance."""
    for label, options, candidates in TASKS:
        cell = PublishedCell(ABILITY_TABLE, 0, UNEDITED, label, "accuracy")
        for described, parts in candidates.items():
            yield _as_count(cell, numbers[cell].value, described, parts)
        scored = sum(next(iter(candidates.values())))
        yield _against_chance(numbers, cell, options, scored)


def step_of(parts: tuple[int, ...]) -> float:
    """The step, in percent, between accuracies averaged over parts of so many rows.

    Whole counts reach every multiple of it, but for some near 0 and 100.
    """
    common = math.lcm(*parts)
    return 100 * math.gcd(*(common // n for n in parts)) / (len(parts) * common)


def _as_count(
    cell: PublishedCell, printed: float, described: str, parts: tuple[int, ...]
) -> Finding:
    step = step_of(parts)
    nearest = round(printed / step) * step
    verdict: Verdict
    if step <= cell.unit:
        verdict, outcome = "not tested", "any printed number is a count over them"
    elif within_rounding(printed - nearest, cell.unit / 2):
        verdict, outcome = "holds", f"a count over them gives {nearest:.4f}"
    else:
        below, above = (math.floor(printed / step) + i for i in (0, 1))
        verdict = "impossible"
        outcome = f"counts over them give {below * step:.4f} or {above * step:.4f}"
    sizes = " + ".join(f"{n:,}" for n in parts)
    return Finding(
        f"{cell.dataset}/{'+'.join(map(str, parts))}",
        verdict,
        f"Table 2, unedited, {cell.dataset}: {cell.text(printed)} over {described} ({sizes} rows): "
        f"{outcome}.",
        {"printed": printed, "step": step, "nearest": nearest},
    )


def _against_chance(numbers: Numbers, cell: PublishedCell, options: int, scored: int) -> Finding:
    share = numbers[cell].value / 100
    chance = 100 / options
    errors = (share - chance / 100) / math.sqrt(share * (1 - share) / scored)
    edited = [
        number.value
        for other, number in numbers.items()
        if (other.table, other.dataset) == (cell.table, cell.dataset) and other.editor != UNEDITED
    ]
    return Finding(
        f"{cell.dataset}/chance",
        "noted",
        f"Table 2, {cell.dataset}: guessing among {options} gives {chance:.2f}; the "
        f"unedited model has {100 * share:.2f}, {errors:.1f} standard errors of {scored:,} rows "
        f"from it, edited ones {min(edited):.2f} to {max(edited):.2f}.",
        {"chance": chance, "unedited": 100 * share, "standard_errors": errors},
    )
