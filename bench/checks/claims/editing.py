"""Claims about lifelong editing: Tables 1, 5 and 6."""

from __future__ import annotations

from collections.abc import Iterator

from bench.checks.claims.base import (
    EDITING_TABLES,
    RECIPE,
    RETRIEVAL_EDITORS,
    WEIGHT_EDITORS,
    Case,
    Claim,
    Evidence,
    Values,
    beaten,
    select,
)
from bench.core.published import PublishedCell, edits, rivals

# A score with less than this share of its value at 1 edit has collapsed, one with more is kept
# (ours: one line for both, so that no score is both or neither).
KEPT = 0.5
LONG = 1_000  # edits by which editors have collapsed
LLAMA_TABLE = 1
OTHER_TABLES = (5, 6)  # of the two backbones whose MLPs have two matrices, LLaMA-2's have three
FACT_WRITERS = ("ROME", "MEMIT")  # of which the paper says that they are worse on LLaMA-2
NOTHING_LEFT = 1.0  # points: scores that are both below it tell nothing apart (ours)


def _best_average(evidence: Evidence, table: int) -> Iterator[Case]:
    values = evidence.tables
    for place in select(values, table, editors=(RECIPE,), metrics=("Avg",)):
        yield from beaten(values, place, rivals(values, place), low=False)


def _locality_kept(evidence: Evidence, table: int) -> Iterator[Case]:
    values = evidence.tables
    for place in select(values, table, editors=RETRIEVAL_EDITORS, metrics=("Loc",)):
        if place.n_edits > 1:
            yield from _share(values, place, kept=True)


def _collapse(evidence: Evidence, table: int) -> Iterator[Case]:
    values = evidence.tables
    for place in select(values, table, editors=WEIGHT_EDITORS, metrics=("Avg",)):
        if place.n_edits == LONG:
            yield from _share(values, place, kept=False)


def _t_patcher_keeps_edits(evidence: Evidence, table: int) -> Iterator[Case]:
    values = evidence.tables
    for place in select(values, table, editors=("TP",), metrics=("Rel", "Gen")):
        if place.n_edits == LONG:
            yield from _share(values, place, kept=True)


def _t_patcher_loses_locality(evidence: Evidence, table: int) -> Iterator[Case]:
    values = evidence.tables
    for place in select(values, table, editors=("TP",), metrics=("Loc",)):
        if (place.n_edits, place.dataset) == (LONG, "ZSRE"):
            yield from _share(values, place, kept=False)


def _worse_on_llama(evidence: Evidence, table: int) -> Iterator[Case]:
    values = evidence.tables
    for place in select(values, table, editors=FACT_WRITERS, metrics=("Avg",)):
        pair = beside_llama(values, place)
        if pair is not None:
            llama, here = pair
            yield Case(
                where=f"{place.editor} on {place.where}",
                figures=f"{place.text(llama)} on LLaMA-2, {place.text(here)} here",
                margin=here - llama,
            )


def beside_llama(values: Values, place: PublishedCell) -> tuple[float, float] | None:
    """(on LLaMA-2, at the place); None where one is not there or both have collapsed."""
    llama, here = values.get(place._replace(table=LLAMA_TABLE)), values.get(place)
    if llama is None or here is None or max(llama, here) < NOTHING_LEFT:
        return None
    return llama, here


def _share(values: Values, place: PublishedCell, *, kept: bool) -> Iterator[Case]:
    """How much of its value at 1 edit a score still has, against `KEPT`."""
    first = values.get(place._replace(n_edits=1))
    if first:  # of nothing there is no share
        share = values[place] / first
        yield Case(
            where=f"{place.metric} of {place.editor} on {place.where}",
            figures=f"{place.text(first)} to {place.text(values[place])}, {share:.0%}",
            margin=share - KEPT if kept else KEPT - share,
        )


CLAIMS = (
    Claim(
        key="recipe-best-average",
        text="RECIPE has the best Avg at every number of edits and on every data set",
        source="Tables 1, 5 and 6",
        tables=EDITING_TABLES,
        cases=_best_average,
    ),
    Claim(
        key="retrieval-keeps-locality",
        text=f"editors that retrieve keep more than {KEPT:.0%} of their Loc at 1 edit",
        source="discussion of the editing results; the share is ours",
        tables=EDITING_TABLES,
        cases=_locality_kept,
    ),
    Claim(
        key="weight-editors-collapse",
        text=f"editors that modify weights have less than {KEPT:.0%} of their Avg at 1 edit left "
        f"by {edits(LONG)}",
        source="discussion of the editing results; the share is ours",
        tables=EDITING_TABLES,
        cases=_collapse,
    ),
    Claim(
        key="t-patcher-keeps-edits",
        text=f"T-Patcher keeps more than {KEPT:.0%} of its Rel and Gen at 1 edit by {edits(LONG)}",
        source="discussion of the editing results; the share is ours",
        tables=EDITING_TABLES,
        cases=_t_patcher_keeps_edits,
    ),
    Claim(
        key="t-patcher-loses-zsre-locality",
        text=f"T-Patcher has less than {KEPT:.0%} of its Loc at 1 edit left on ZSRE by "
        f"{edits(LONG)}",
        source="discussion of the editing results; the share is ours",
        tables=EDITING_TABLES,
        cases=_t_patcher_loses_locality,
    ),
    Claim(
        key="rome-memit-worse-on-llama",
        text="ROME and MEMIT have a lower Avg on LLaMA-2 (Table 1) than on this backbone",
        source="discussion of the editing results",
        tables=OTHER_TABLES,
        cases=_worse_on_llama,
    ),
)
