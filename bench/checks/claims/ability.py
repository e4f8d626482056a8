"""Claims about general ability after 1,000 edits: Table 2."""

from __future__ import annotations

from collections.abc import Iterator

from bench.checks.claims.base import (
    RECIPE,
    WEIGHT_EDITORS,
    Case,
    Claim,
    Evidence,
    Values,
    beaten,
    select,
)
from bench.core.published import UNEDITED, PublishedCell, rivals

TABLE = 2
MEAN = "mean"  # the metric of the last column
TASK_METRICS = ("accuracy", "1/PPL")
KEPT_WITHIN = 1.0  # points of the unedited model's score

LOSERS = (*WEIGHT_EDITORS, "TP", "LTE")
KEEPERS = ("GRACE", "R-ROME", RECIPE)


def _lost(evidence: Evidence, table: int) -> Iterator[Case]:
    values = evidence.tables
    for place in select(values, table, editors=LOSERS, metrics=(MEAN,)):
        for before in _unedited(values, place):
            yield _case(values, place, before, margin=before - values[place] - KEPT_WITHIN)


def _kept(evidence: Evidence, table: int) -> Iterator[Case]:
    values = evidence.tables
    for place in select(values, table, editors=KEEPERS, metrics=(MEAN, *TASK_METRICS)):
        for before in _unedited(values, place):
            yield _case(values, place, before, margin=KEPT_WITHIN - abs(before - values[place]))


def _best(evidence: Evidence, table: int) -> Iterator[Case]:
    values = evidence.tables
    for place in select(values, table, editors=(RECIPE,), metrics=(MEAN,)):
        yield from beaten(values, place, rivals(values, place), low=False)


def _unedited(values: Values, place: PublishedCell) -> Iterator[float]:
    before = values.get(place._replace(n_edits=0, editor=UNEDITED))
    if before is not None:
        yield before


def _case(values: Values, place: PublishedCell, before: float, *, margin: float) -> Case:
    return Case(
        where=f"{place.editor} on {place.dataset}",
        figures=f"{place.text(values[place])}, unedited {place.text(before)}",
        margin=margin,
    )


CLAIMS = (
    Claim(
        key="general-ability-lost",
        text="editors that modify weights, T-Patcher and LTE lose general ability: their mean over "
        f"the tasks is more than {KEPT_WITHIN:.0f} point below the unedited model's",
        source="discussion of Table 2; the margin is that of general-ability-kept",
        tables=(TABLE,),
        cases=_lost,
    ),
    Claim(
        key="general-ability-kept",
        text="GRACE, R-ROME and RECIPE stay within "
        f"{KEPT_WITHIN:.0f} point of the unedited model on every task",
        source="discussion of Table 2",
        tables=(TABLE,),
        cases=_kept,
    ),
    Claim(
        key="general-ability-best",
        text="of all edited models RECIPE's has the best mean over the tasks",
        source="Table 2",
        tables=(TABLE,),
        cases=_best,
    ),
)
