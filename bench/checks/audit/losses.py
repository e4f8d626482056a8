"""Where another editor has a better single number than RECIPE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.checks.audit.findings import Check, Finding, Numbers
from bench.checks.claims.ability import TASK_METRICS
from bench.checks.claims.base import RECIPE
from bench.checks.claims.times import EDIT, INFERENCE
from bench.core.published import PublishedCell, rivals

METRICS = ("Rel", "Gen", "Loc", *TASK_METRICS, EDIT, INFERENCE)
LESS_IS_BETTER = (EDIT, INFERENCE)
TABLES = (1, 2, 3, 5, 6)  # in Table 4 RECIPE stands beside parts of itself


def find(numbers: Numbers) -> Iterator[Finding]:
    """For each table how many numbers RECIPE has the best of, then each that it has not."""
    for table in TABLES:
        contests = {
            place: _ahead(numbers, place)
            for place in numbers
            if (place.table, place.editor) == (table, RECIPE) and place.metric in METRICS
        }
        lost = {place: ahead for place, ahead in contests.items() if ahead}
        yield _summary(table, contests=len(contests), lost=len(lost))
        yield from (_loss(numbers, place, ahead) for place, ahead in lost.items())


def _ahead(numbers: Numbers, place: PublishedCell) -> tuple[PublishedCell, ...]:
    """The editors that are better or as good, the best first."""
    sign = -1 if place.metric in LESS_IS_BETTER else 1
    better = [
        rival
        for rival in rivals(numbers, place)
        if sign * numbers[rival].value >= sign * numbers[place].value
    ]
    return tuple(sorted(better, key=lambda rival: -sign * numbers[rival].value))


def _summary(table: int, *, contests: int, lost: int) -> Finding:
    return Finding(
        place=f"table{table}",
        verdict="noted",
        sentence=f"Table {table}: RECIPE has the best of {contests - lost} of {contests} single "
        "numbers.",
        numbers={"contests": contests, "lost": lost},
    )


def _loss(numbers: Numbers, place: PublishedCell, ahead: Sequence[PublishedCell]) -> Finding:
    ours = numbers[place].value
    listed = ", ".join(
        f"{rival.editor} {rival.text(numbers[rival].value)} ("
        f"{numbers[rival].value - ours:+.{rival.decimals}f})"
        for rival in ahead
    )
    return Finding(
        place="/".join(
            filter(None, [f"table{place.table}", place.dataset, str(place.n_edits), place.metric])
        ),
        verdict="noted",
        sentence=f"Table {place.table}, {place.where}: {place.metric} of RECIPE is "
        f"{place.text(ours)}; as good or better: {listed}.",
        numbers={RECIPE: ours, **{rival.editor: numbers[rival].value for rival in ahead}},
    )


CHECK = Check(
    key="losses",
    title="Single numbers that RECIPE loses",
    rule="Every number of RECIPE but means and totals, against the same number of every other "
    "edited model; means and totals are among the claims.",
    find=find,
)
