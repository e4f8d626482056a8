"""Retention, the forgetting curve: what is left of an edit when others have come after it.

Two views, in [0, 1], teacher-forced (`bench.evaluation.metrics`), means over samples:

* `by_age`: of the ordinary answers at the end of a block, reliability and generality of the edits
  that so many others followed, in ten equal groups. Old and young edits are other samples.
* `curve`: the first edits of a block (the *cohort*, ten at most) asked again in the same stream,
  right behind each of them (age 0) and behind exactly 1, 10, 100, 1,000 ... later edits. All ages
  have the same samples, so that a falling curve is forgetting and nothing else. `end` is the cohort
  at the end of the block, from the ordinary answers.

Sources: the released evaluation of GRACE asks past edits in mid-stream (Hartvigsen et al., NeurIPS
2023, edit retention rate); ages in powers of ten and the fixed cohort are ours. Editors whose
questions leave something behind (GRACE's mode `easyedit`) may end in other scores when they are
asked in mid-stream.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from typing import Any

from bench.core.cells import Cell
from bench.evaluation import metrics
from bench.evaluation.inference import Forced
from bench.evaluation.metric_set import Block, Found, MetricSet, Running
from bench.evaluation.metrics import ItemScore, Measure, SampleRow, Scores, by_age, score
from bench.evaluation.probing import Item, items_of

COHORT = 10  # edits at most; ours, so that a stage asks few questions
MEASURES: tuple[Measure, ...] = ("token_accuracy", "exact")
_COMPARE = {"token_accuracy": metrics.token_accuracy, "exact": metrics.exact}
_POWERS = tuple(10**k for k in range(10))


class Retention(MetricSet):
    """See the module."""

    name = "retention"
    version = 1
    title = "reliability and generality of an edit by the number of edits that came after"

    def stages(self, n_edits: int) -> Collection[int]:
        """Where some edit of the cohort reaches one of the ages."""
        return {p + 1 + age for p in range(cohort(n_edits)) for age in ages(n_edits)}

    def behind(self, running: Running, block: Block, made: int) -> Any:
        """Ask the edits of the cohort that have one of the ages now."""
        n_edits = len(block)
        due = [p for p in range(cohort(n_edits)) if made - 1 - p in ages(n_edits)]
        items = [[i for i in items_of(block[p]) if i.aspect != "locality"] for p in due]
        answers = iter(running.forced([item for group in items for item in group]))
        return [
            {"position": p, "age": made - 1 - p, **_scores([(i, next(answers)) for i in group])}
            for p, group in zip(due, items, strict=True)
        ]

    def summary(self, cell: Cell, rows: Sequence[SampleRow], found: Found) -> dict[str, Any]:
        """See the module."""
        n_edits = cell.n_edits
        stages = [stage for block in found.blocks for stage in block["stages"].values()]
        asked = [one for stage in stages for one in stage]
        size = cohort(n_edits)
        return {
            "by_age": list(by_age(rows, n_edits)),
            "cohort": size,
            "curve": [
                {"age": age, **_mean([one for one in asked if one["age"] == age])}
                for age in ages(n_edits)
            ],
            "end": {
                "from": n_edits - size,
                "to": n_edits - 1,
                **_mean([_of_row(row) for row in rows if row["position"] < size]),
            },
        }

    def columns(self, summary: Mapping[str, Any]) -> Mapping[str, float | None]:
        """Token accuracy in percent: the curve, its end, the youngest tenth and the oldest."""
        points = {f"{one['age']:,}": one["token_accuracy"] for one in summary["curve"]}
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


def _scores(answered: Sequence[tuple[Item, Forced]]) -> dict[str, Scores]:
    return {
        measure: metrics.sample_scores(
            ItemScore(item.aspect, item.kind, _COMPARE[measure](got.predicted_ids, got.target_ids))
            for item, got in answered
        )
        for measure in MEASURES
    }


def _of_row(row: SampleRow) -> dict[str, Scores]:
    """The scores of a sample at the end of its block."""
    items = [item for item in row["items"] if item["aspect"] != "locality"]
    return {
        measure: metrics.sample_scores(
            ItemScore(i["aspect"], i["kind"], score(i, "after", "teacher_forced", measure))
            for i in items
        )
        for measure in MEASURES
    }


def _mean(asked: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "samples": len(asked),
        **{measure: metrics.cell_scores(one[measure] for one in asked) for measure in MEASURES},
    }
