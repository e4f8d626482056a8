"""Locality by distance: agreement with the unedited model, by how near a question is to the edit.

Distances, from near to far:

* `same_pair`: the edit's subject and relation, another of several objects (RippleEdits'
  Forgetfulness);
* `same_subject`: the edit's subject, another relation (RippleEdits' Relation_Specificity);
* `same_relation`: the edit's relation, another subject (CounterFact's neighbours);
* `unrelated`: another subject and relation (ZSRE's questions).

The questions are the data set's own, by kind (`source` data). In the embedded world those of each
distance but the first are generated from its facts instead, exactly (`source` world): a question
for each of up to 50 evenly spaced edits of a block, worded in the style of the edit; none asks for
a pair that the block edits. A distance without questions is absent.

Agreement is that of locality, in [0, 1]: the target is forced, and the most likely tokens before
and after are compared (`token_accuracy`, `exact`); means over items. `items` says how many. Source:
Cohen et al. (TACL 2024) and Meng et al. (NeurIPS 2022) for the kinds; putting them in one order is
ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from statistics import fmean
from typing import Any

import numpy as np

from bench.core.cells import Cell
from bench.datasets import get_dataset
from bench.evaluation.metric_sets import Block, MetricSet, RunningCell, SetResults
from bench.evaluation.metrics import SampleRow, exact, score, token_accuracy
from bench.evaluation.probing import Item
from bench.world.world import RELATIONS, STYLES, Fact, Style, World, phrase
from editors.base import EditSample

DISTANCES = ("same_pair", "same_subject", "same_relation", "unrelated")
EDITS_OF_A_BLOCK = 50  # that questions are generated for; ours
_DRAWN = 5  # of the generator's seed, so that no other draw has the same numbers


class Distance(MetricSet):
    name = "distance"
    version = 1
    title = "agreement with the unedited model by the distance of the question to the edit"

    def before(self, running: RunningCell, blocks: Sequence[Block]) -> Any:
        """Generated questions of each block with the unedited model's tokens; None on real data."""
        seed = running.inputs.world_seed
        if seed is None:
            return None
        generated = [
            generated_questions(_world(seed), block, [running.cell.seed, i, _DRAWN])
            for i, block in enumerate(blocks)
        ]
        items = [item for block in generated for item in block]
        answers = iter(running.forced(items, edited=False))
        return [
            [
                {"distance": item.kind, "prompt": item.prompt, "target": item.target,
                 "ids": list(next(answers).predicted_ids)}
                for item in block
            ]
            for block in generated
        ]  # fmt: skip

    def at_end(self, running: RunningCell, number: int, block: Block, before: Any) -> Any:
        """The edited model's tokens to the block's generated questions."""
        if before is None:
            return None
        items = [_item(row["distance"], row["prompt"], row["target"]) for row in before[number]]
        return [list(answer.predicted_ids) for answer in running.forced(items)]

    def summary(self, cell: Cell, rows: Sequence[SampleRow], results: SetResults) -> dict[str, Any]:
        generated = [] if results.before is None else list(_of_world(results))
        own = list(_of_data(cell, rows))
        groups = {}
        for distance in DISTANCES:
            worlds = [pair for where, *pair in generated if where == distance]
            values = worlds or [pair for where, *pair in own if where == distance]
            if values:
                tokens, whole = zip(*values, strict=True)
                groups[distance] = {
                    "source": "world" if worlds else "data",
                    "items": len(values),
                    "token_accuracy": fmean(tokens),
                    "exact": fmean(whole),
                }
        return {"groups": groups}

    def columns(self, summary: Mapping[str, Any]) -> Mapping[str, float | None]:
        """Token accuracy in percent and the number of items of each distance."""
        columns: dict[str, float | None] = {}
        for distance in DISTANCES:
            group = summary["groups"].get(distance)
            name = distance.replace("_", " ")
            columns[name] = 100 * group["token_accuracy"] if group else None
            columns[f"n {name}"] = group["items"] if group else None
        return columns


def generated_questions(world: World, block: Block, seed: Sequence[int]) -> list[Item]:
    """Questions about a world's facts, one of each distance for evenly spaced edits of a block."""
    rng = np.random.default_rng(list(seed))
    known = [fact_of(sample) for sample in block]
    edited = {fact.pair for fact, _ in filter(None, known)}
    places = np.linspace(0, len(block) - 1, min(EDITS_OF_A_BLOCK, len(block))).round().astype(int)
    items = []
    for place in dict.fromkeys(places.tolist()):
        if known[place] is None:
            continue
        fact, style = known[place]
        for distance, pool in _pools(world, fact).items():
            free = [other for other in pool if other.pair not in edited]
            if free:
                other = free[int(rng.integers(len(free)))]
                items.append(_item(distance, phrase(other, style), other.object))
    return items


def fact_of(sample: EditSample) -> tuple[Fact, Style] | None:
    """The fact that a request of the embedded world writes, and the style that it is worded in."""
    request = sample.request
    for relation in RELATIONS:
        for style in STYLES:
            worded = [form.format(s=request.subject) for form in relation.phrasings[style]]
            if request.prompt in worded:
                return Fact(request.subject, relation.key, request.target), style
    return None


def _pools(world: World, fact: Fact) -> dict[str, list[Fact]]:
    """Distance -> facts at that distance of a fact."""
    others = [other for other in world.unedited["test"] if other.subject != fact.subject]
    return {
        "same_subject": world.other_facts(fact, "test"),
        "same_relation": [other for other in others if other.relation == fact.relation],
        "unrelated": [other for other in others if other.relation != fact.relation],
    }


def _item(distance: str, prompt: str, target: str) -> Item:
    return Item(aspect="locality", kind=distance, prompt=prompt, target=target)


def _of_world(results: SetResults) -> Iterator[tuple[str, float, float]]:
    """(distance, token accuracy, exact) of every generated question."""
    for asked, block in zip(results.before, results.blocks, strict=True):
        for row, after in zip(asked, block["end"], strict=True):
            before = row["ids"]
            yield row["distance"], token_accuracy(after, before), exact(after, before)


def _of_data(cell: Cell, rows: Sequence[SampleRow]) -> Iterator[tuple[str, float, float]]:
    """The same of the data set's own locality questions."""
    distances = get_dataset(cell.dataset).distances
    for row in rows:
        for item in row["items"]:
            if item["aspect"] == "locality" and item["kind"] in distances:
                yield (
                    distances[item["kind"]],
                    score(item, "after", "teacher_forced", "token_accuracy"),
                    score(item, "after", "teacher_forced", "exact"),
                )


_world = lru_cache(maxsize=2)(World)
