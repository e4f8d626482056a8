"""Table 2's accuracies as counts of right answers, and against guessing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.checks.audit.findings import Check, Finding, Numbers, Verdict
from bench.checks.audit.rounding import explains
from bench.checks.audit.rows import SCORED, STATED
from bench.checks.claims.ability import TABLE
from bench.core.published import UNEDITED, PublishedCell


@dataclass(frozen=True, kw_only=True)
class _Task:
    """A multiple-choice task: its options, and row counts that the unedited model may be asked."""

    label: str
    options: int
    rows: Mapping[str, tuple[int, ...]]  # description -> rows of each part, averaged over parts


TASKS = (
    _Task(
        label="CSQA",
        options=5,
        rows={"the validation split": SCORED["CSQA"], "the test split": (STATED["CSQA"],)},
    ),
    _Task(
        label="MMLU",
        options=4,
        rows={
            "the test rows that the paper states": (STATED["MMLU"],),
            "the test files of all subjects": SCORED["MMLU"],
        },
    ),
    _Task(
        label="ANLI",
        options=3,
        rows={
            "the three test rounds": (sum(SCORED["ANLI"]),),
            "the mean of the test rounds": SCORED["ANLI"],
        },
    ),
)


def find(numbers: Numbers) -> Iterator[Finding]:
    """Each task: whether the unedited accuracy is a count over its rows, how far from chance."""
    for task in TASKS:
        place = PublishedCell(TABLE, 0, UNEDITED, task.label, "accuracy")
        for described, rows in task.rows.items():
            yield _as_count(place, numbers[place].value, described, rows)
        yield _against_chance(numbers, place, task)


def step_of(rows: tuple[int, ...]) -> float:
    """The step, in percent, between accuracies over parts of so many rows, averaged over the parts.

    Whole counts reach every multiple of it, but for some near 0 and 100.
    """
    common = math.lcm(*rows)
    return 100 * math.gcd(*(common // n for n in rows)) / (len(rows) * common)


def _as_count(
    place: PublishedCell, printed: float, described: str, rows: tuple[int, ...]
) -> Finding:
    step = step_of(rows)
    nearest = round(printed / step) * step
    said = f"Table 2, unedited, {place.dataset}: {place.text(printed)} over {described}"
    sizes = " + ".join(f"{n:,}" for n in rows)
    numbers = {"printed": printed, "step": step, "nearest": nearest}
    verdict: Verdict
    if step <= place.unit:
        verdict, outcome = "not tested", "any printed number is a count over them"
    elif explains(printed - nearest, place.unit / 2):
        verdict, outcome = "holds", f"a count over them gives {nearest:.4f}"
    else:
        below, above = (math.floor(printed / step) + i for i in (0, 1))
        verdict = "impossible"
        outcome = f"counts over them give {below * step:.4f} or {above * step:.4f}"
    return Finding(
        place=f"{place.dataset}/{'+'.join(map(str, rows))}",
        verdict=verdict,
        sentence=f"{said} ({sizes} rows): {outcome}.",
        numbers=numbers,
    )


def _against_chance(numbers: Numbers, place: PublishedCell, task: _Task) -> Finding:
    share = numbers[place].value / 100
    rows = sum(next(iter(task.rows.values())))
    chance = 100 / task.options
    errors = (share - chance / 100) / math.sqrt(share * (1 - share) / rows)
    edited = [numbers[rival] for rival in numbers if _edited(rival, place)]
    low, high = (pick(one.value for one in edited) for pick in (min, max))
    return Finding(
        place=f"{place.dataset}/chance",
        verdict="noted",
        sentence=f"Table 2, {place.dataset}: guessing among {task.options} gives {chance:.2f}; the "
        f"unedited model has {100 * share:.2f}, {errors:.1f} standard errors of {rows:,} rows from "
        f"it, edited ones {low:.2f} to {high:.2f}.",
        numbers={"chance": chance, "unedited": 100 * share, "standard_errors": errors},
    )


def _edited(other: PublishedCell, place: PublishedCell) -> bool:
    """Whether a place is of an edited model on the same task."""
    return other.editor != UNEDITED and (other.table, other.dataset) == (place.table, place.dataset)


CHECK = Check(
    key="tasks",
    title="Table 2's accuracies as counts",
    rule="The unedited model is asked once, so its accuracy is a number of right answers over a "
    "number of rows; which rows, is tried. Edited models are means over several runs of edits.",
    find=find,
)
