"""Numbers of rows: what the tables need, what the paper states, what the sets have."""

from __future__ import annotations

from collections.abc import Iterator

from bench.checks.audit.findings import Check, Finding, Numbers
from bench.checks.claims.base import EDITING_TABLES
from bench.core.names import DATASETS
from bench.core.published import distinct
from bench.datasets import get_dataset

# Test rows that the paper's description of its data states.
STATED = {"RIPE": 1_388, "MMLU": 5_871, "CSQA": 1_140}
# Rows of the public sets that the released code scores: all 57 test files of MMLU, the validation
# split of CSQA (the answers of its test split are not public), the three test rounds of ANLI.
SCORED = {"MMLU": (14_042,), "CSQA": (1_221,), "ANLI": (1_000, 1_000, 1_200)}


def find(numbers: Numbers) -> Iterator[Finding]:
    """What each edit set must have for the printed cells, then each stated count."""
    for key in DATASETS:
        dataset = get_dataset(key)
        yield from _needed(numbers, dataset.label, dataset.files["test"].rows)
    ripe = get_dataset("ripple_edits")
    yield _stated(ripe.label, ripe.files["test"].rows, "in the released test file")
    yield _stated("MMLU", sum(SCORED["MMLU"]), "in the test files of its 57 subjects")
    yield _stated("CSQA", sum(SCORED["CSQA"]), "in the validation split, whose answers are public")


def _needed(numbers: Numbers, label: str, rows: int) -> Iterator[Finding]:
    """A cell of n edits needs n rows, and one that is left empty should lack them."""
    counts = sorted({n for t in EDITING_TABLES for n in distinct(numbers, t, lambda p: p.n_edits)})
    printed = {p.n_edits for p in numbers if p.table in EDITING_TABLES and p.dataset == label}
    allowed = [n for n in counts if n <= rows]
    wrong = sorted(printed.symmetric_difference(allowed))
    largest = max(printed)
    listed = ", ".join(f"{n:,}" for n in wrong)
    outcome = f"printed against that or empty without reason: {listed}" if wrong else "as printed"
    yield Finding(
        place=f"needed/{label}",
        verdict="fails" if wrong else "holds",
        sentence=f"{label}: {rows:,} test rows allow {', '.join(f'{n:,}' for n in allowed)} edits, "
        f"{outcome}; blocks of {largest:,} leave {rows % largest:,} rows out.",
        numbers={"rows": rows, "largest": largest, "left_out": rows % largest},
    )


def _stated(name: str, rows: int, where: str) -> Finding:
    return Finding(
        place=f"stated/{name}",
        verdict="holds" if STATED[name] == rows else "differs",
        sentence=f"{name}: {STATED[name]:,} test rows are stated, there are {rows:,} {where}.",
        numbers={"stated": STATED[name], "rows": rows},
    )


CHECK = Check(
    key="rows",
    title="Counts of rows",
    rule="A cell of n edits needs n test rows and is empty without them. Counts that the paper "
    "states, against the sets as they can be had.",
    find=find,
)
