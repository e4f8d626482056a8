"""Overfitting: how probable the edit's new answer has become for questions it does not belong to.

The edit's new answer is forced after its locality questions, which ask about other subjects. A
probability, in [0, 1], is that of a token, the geometric mean over the answer's tokens; `before`
and `after` are means over the samples of their means over questions, by the data set's kind of
question. An editor that writes an answer into the relation, not into the subject, raises it. The
answer is looked up by the prompt alone.

Source: the probability of the target on neighbourhood prompts, of which Meng et al. (ROME, NeurIPS
2022) print the difference to the true answer's; printing it by itself is ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from bench.core.cells import Cell
from bench.evaluation.metric_sets import Block, MetricSet, RunningCell, SetResults
from bench.evaluation.metrics import SampleRow
from bench.evaluation.probing import Item


class Overfit(MetricSet):
    name = "overfit"
    version = 1
    title = "probability of the new answer for questions about other subjects"

    def before(self, running: RunningCell, blocks: Sequence[Block]) -> Any:
        return [_asked(running, block, edited=False) for block in blocks]

    def at_end(self, running: RunningCell, number: int, block: Block, before: Any) -> Any:
        return _asked(running, block, edited=True)

    def summary(self, cell: Cell, rows: Sequence[SampleRow], results: SetResults) -> dict[str, Any]:
        before = [sample for block in results.before for sample in block]
        after = [sample for block in results.blocks for sample in block["end"]]
        kinds = dict.fromkeys(kind for sample in after for kind, _ in sample)
        return {
            "kinds": {
                kind: {"before": _mean(before, kind), "after": _mean(after, kind)} for kind in kinds
            }
        }

    def columns(self, summary: Mapping[str, Any]) -> Mapping[str, float | None]:
        """In percent, by kind of question."""
        return {
            f"{kind.replace('_', ' ')} {phase}": 100 * numbers[phase]
            for kind, numbers in summary["kinds"].items()
            for phase in ("before", "after")
        }


def _asked(running: RunningCell, block: Block, *, edited: bool) -> list[list[list[Any]]]:
    """By sample: the kind of each locality question, and nats of a token of the new answer."""
    items = [
        [
            Item(aspect="locality", kind=probe.kind, prompt=probe.prompt, target=own.request.target)
            for probe in own.locality
        ]
        for own in block
    ]
    flat = [item for sample in items for item in sample]
    answers = iter(running.forced(flat, edited=edited, retrieval_text="prompt_only"))
    return [
        [[item.kind, (a := next(answers)).log_probability / len(a.target_ids)] for item in sample]
        for sample in items
    ]


def _mean(samples: Sequence[Sequence[Sequence[Any]]], kind: str) -> float:
    own = [[math.exp(nats) for of, nats in sample if of == kind] for sample in samples]
    return fmean(fmean(values) for values in own if values)
