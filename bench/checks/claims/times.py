"""Claims about edit and inference time after 10,000 edits: Table 3."""

from __future__ import annotations

import statistics
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

TABLE = 3
EDIT, INFERENCE, TOTAL = "edit_time_s", "infer_time_s", "total_time_s"
# Trained before the first edit, or looking for each edit by back-propagation.
META_TRAINED = ("MEND", "MALMEN", "LTE", RECIPE)
BACK_PROPAGATING = ("FT", "ROME", "MEMIT", "WILKE", "TP", "GRACE", "R-ROME")
# Times this near are equal (ours: half of T-Patcher's overhead, which the table calls one).
EQUAL_WITHIN = 0.02


def _edit_faster(evidence: Evidence, table: int) -> Iterator[Case]:
    values = evidence.tables
    slow = tuple(select(values, table, editors=BACK_PROPAGATING, metrics=(EDIT,)))
    for place in select(values, table, editors=META_TRAINED, metrics=(EDIT,)):
        for other in slow:
            yield _faster(values, place, other)


def _weights_add_nothing(evidence: Evidence, table: int) -> Iterator[Case]:
    values = evidence.tables
    reference = plain_inference(values, table)
    for place in select(values, table, editors=WEIGHT_EDITORS, metrics=(INFERENCE,)):
        if reference is not None:
            off = values[place] / reference - 1
            yield Case(
                where=place.editor,
                figures=f"{place.text(values[place])} s, {off:+.1%}",
                margin=EQUAL_WITHIN - abs(off),
            )


def _memory_costs(evidence: Evidence, table: int) -> Iterator[Case]:
    values = evidence.tables
    plain = tuple(select(values, table, editors=WEIGHT_EDITORS, metrics=(INFERENCE,)))
    for place in select(values, table, editors=("TP", "GRACE"), metrics=(INFERENCE,)):
        for other in plain:
            yield _faster(values, other, place)


def _shortest_total(evidence: Evidence, table: int) -> Iterator[Case]:
    values = evidence.tables
    for place in select(values, table, editors=(RECIPE,), metrics=(TOTAL,)):
        yield from beaten(values, place, rivals(values, place), low=True)


def plain_inference(values: Values, table: int) -> float | None:
    """Seconds of one inference without an editor; None where nothing tells.

    The unedited model's, or, as the paper times none, the median of the editors that leave nothing
    but other weights behind.
    """
    for editors in ((UNEDITED,), WEIGHT_EDITORS):
        found = [values[p] for p in select(values, table, editors=editors, metrics=(INFERENCE,))]
        if found:
            return statistics.median(found)
    return None


def _faster(values: Values, place: PublishedCell, other: PublishedCell) -> Case:
    """Whether one time is below another; the margin is a share of the longer one."""
    return Case(
        where=f"{place.editor} and {other.editor}",
        figures=f"{place.text(values[place])} and {other.text(values[other])} s",
        margin=(values[other] - values[place]) / max(values[other], values[place]),
    )


CLAIMS = (
    Claim(
        key="meta-trained-edit-faster",
        text="editors that are trained beforehand edit faster than those that back-propagate for "
        "each edit",
        source="discussion of Table 3",
        tables=(TABLE,),
        cases=_edit_faster,
    ),
    Claim(
        key="weight-editors-infer-as-unedited",
        text="inference with edited weights takes as long as without an edit, within "
        f"{EQUAL_WITHIN:.0%} (of their median where the unedited model is not timed)",
        source="discussion of Table 3; the share is ours",
        tables=(TABLE,),
        cases=_weights_add_nothing,
    ),
    Claim(
        key="memory-editors-infer-slower",
        text="inference with T-Patcher and GRACE takes longer than with edited weights",
        source="discussion of Table 3",
        tables=(TABLE,),
        cases=_memory_costs,
    ),
    Claim(
        key="recipe-shortest-total",
        text="RECIPE's total of edit and inference time is the shortest",
        source="Table 3",
        tables=(TABLE,),
        cases=_shortest_total,
    ),
)
