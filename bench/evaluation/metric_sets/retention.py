"""Retention, the forgetting curve: what is left of an edit after later edits.

Two views, in [0, 1], teacher-forced (`bench.evaluation.metrics`), means over samples:

* `by_age`: of the ordinary answers at the end of a block, reliability and generality of the edits
  that so many others followed, in ten equal groups. Old and young edits are other samples.
* `curve`: the first edits of a block (the *cohort*, ten at most) asked again in the same stream,
  right after each of them (age 0) and after exactly 1, 10, 100, 1,000 ... later edits. All ages
  have the same samples, so that a falling curve is forgetting and nothing else. `end` is the cohort
  at the end of the block, from the ordinary answers.

Sources: the released evaluation of GRACE asks past edits in mid-stream (Hartvigsen et al., NeurIPS
2023, edit retention rate); ages in powers of ten and the fixed cohort are ours. Editors whose
questions change their state (GRACE's mode `easyedit`) may end in other scores when they are asked
in mid-stream.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from typing import Any

from bench.core.cells import Cell
from bench.evaluation.metric_sets import Block, MetricSet, RunningCell, SetResults
from bench.evaluation.metrics import (
    ItemScore,
    Measure,
    SampleRow,
    Scores,
    by_age,
    cell_scores,
    exact,
    item_scores,
    sample_scores,
    token_accuracy,
)
from bench.evaluation.probing import items_of

COHORT = 10  # edits at most; ours, so that a stage asks few questions
MEASURES: tuple[Measure, ...] = ("token_accuracy", "exact")
_COMPARE = {"token_accuracy": token_accuracy, "exact": exact}
_POWERS = tuple(10**k for k in range(10))


class Retention(MetricSet):
    name = "retention"
    version = 1
    title = "reliability and generality of an edit by the number of edits that came after"

    def stages(self, n_edits: int) -> Collection[int]:
        """Where some edit of the cohort reaches one of the ages."""
        return {p + 1 + age for p in range(cohort(n_edits)) for age in ages(n_edits)}

    def after_edits(self, running: RunningCell, block: Block, n_edits: int) -> Any:
        """Ask the edits of the cohort that have one of the ages now."""
        due = [p for p in range(cohort(len(block))) if n_edits - 1 - p in ages(len(block))]
        items = [[i for i in items_of(block[p]) if i.aspect != "locality"] for p in due]
        answers = iter(running.forced([item for group in items for item in group]))
        stage = []
        for position, group in zip(due, items, strict=True):
            pairs = [(item, next(answers)) for item in group]
            scores: dict[str, Scores] = {
                measure: sample_scores(
                    ItemScore(i.aspect, i.kind, _COMPARE[measure](a.predicted_ids, a.target_ids))
                    for i, a in pairs
                )
                for measure in MEASURES
            }
            stage.append({"position": position, "age": n_edits - 1 - position, **scores})
        return stage

    def summary(self, cell: Cell, rows: Sequence[SampleRow], results: SetResults) -> dict[str, Any]:
        n_edits = cell.n_edits
        stages = [stage for block in results.blocks for stage in block["stages"].values()]
        asked = [scores for stage in stages for scores in stage]
        size = cohort(n_edits)
        return {
            "by_age": list(by_age(rows, n_edits)),
            "cohort": size,
            "curve": [
                {"age": age, **_mean([scores for scores in asked if scores["age"] == age])}
                for age in ages(n_edits)
            ],
            "end": {
                "from": n_edits - size,
                "to": n_edits - 1,
                **_mean([_scores_of(row) for row in rows if row["position"] < size]),
            },
        }

    def columns(self, summary: Mapping[str, Any]) -> Mapping[str, float | None]:
        """Token accuracy in percent: the curve, its end, the youngest tenth and the oldest."""
        points = {f"{point['age']:,}": point["token_accuracy"] for point in summary["curve"]}
        points["end"] = summary["end"]["token_accuracy"]
        points["youngest"], points["oldest"] = summary["by_age"][0], summary["by_age"][-1]
        return {
            f"{label} {age}": None if point.get(aspect) is None else 100 * point[aspect]
            for label, aspect in (("Rel", "reliability"), ("Gen", "generality"))
            for age, point in points.items()
        }


def ages(n_edits: int) -> tuple[int, ...]:
    """0, and the powers of ten that half of a block is long enough for."""
    return (0, *takewhile(lambda age: 2 * age <= n_edits, _POWERS))


def cohort(n_edits: int) -> int:
    """How many first edits of a block reach all of its ages."""
    return min(COHORT, n_edits - ages(n_edits)[-1])


def _scores_of(row: SampleRow) -> dict[str, Scores]:
    """The scores of a sample at the end of its block."""
    return {
        measure: sample_scores(
            item
            for item in item_scores(row, "after", "teacher_forced", measure)
            if item.aspect != "locality"
        )
        for measure in MEASURES
    }


def _mean(asked: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    means: dict[str, Any] = {m: cell_scores(scores[m] for scores in asked) for m in MEASURES}
    return {"samples": len(asked), **means}
