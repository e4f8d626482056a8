"""Numbers that rise with the number of edits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from bench.checks.audit.findings import Check, Finding, Numbers, shown
from bench.checks.claims.base import EDITING_TABLES
from bench.core.published import Published, PublishedCell, distinct, edits

STDS = 2.0  # of the difference, where a spread is printed
POINTS = 1.0  # where none is


def find(numbers: Numbers) -> Iterator[Finding]:
    """One finding for an editor on a data set between two neighbouring numbers of edits."""
    for table in EDITING_TABLES:
        counts = distinct(numbers, table, lambda place: place.n_edits)
        series = distinct(numbers, table, lambda place: (place.editor, place.dataset))
        metrics = distinct(numbers, table, lambda place: place.metric)
        for editor, dataset in series:
            for fewer, more in pairwise(counts):
                places = [
                    PublishedCell(table, fewer, editor, dataset, metric) for metric in metrics
                ]
                rising = [place for place in places if _rises(numbers, place, more)]
                if rising:
                    yield _finding(numbers, rising, more)


def threshold(fewer: Published, more: Published) -> float:
    """How far a number must rise to be reported, its last printed place left out."""
    if fewer.std is None or more.std is None:
        return POINTS
    return STDS * math.hypot(fewer.std, more.std)


def _rises(numbers: Numbers, place: PublishedCell, more: int) -> bool:
    before, after = numbers.get(place), numbers.get(place._replace(n_edits=more))
    if before is None or after is None:
        return False
    return after.value - before.value > threshold(before, after) + place.unit


def _finding(numbers: Numbers, rising: list[PublishedCell], more: int) -> Finding:
    first = rising[0]
    after = {place: numbers[place._replace(n_edits=more)] for place in rising}
    listed = ", ".join(
        f"{place.metric} {shown(place, numbers[place])} to {shown(place, after[place])}"
        for place in rising
    )
    return Finding(
        place=f"table{first.table}/{first.editor}/{first.dataset}/{first.n_edits}-{more}",
        verdict="noted",
        sentence=f"Table {first.table}, {first.editor} on {first.dataset}, from "
        f"{first.n_edits:,} to {edits(more)}: {listed}.",
        numbers={p.metric: after[p].value - numbers[p].value for p in rising},
    )


CHECK = Check(
    key="rises",
    title="Numbers that rise with more edits",
    rule="From one printed number of edits to the next: Avg by more than "
    f"{STDS:.0f} standard deviations of the difference, Rel, Gen and Loc, which have none, by more "
    f"than {POINTS:.0f} point; 0.01 for rounding comes on top.",
    find=find,
)
