"""Locality by distance: agreement with the unedited model, by how near a question is to the edit.

Distances, from near to far:

* `same_pair`: the edit's subject and relation, another of several objects (RippleEdits'
  Forgetfulness);
* `same_subject`: the edit's subject, another relation (RippleEdits' Relation_Specificity);
* `same_relation`: the edit's relation, another subject (CounterFact's neighbours);
* `unrelated`: another subject and relation (ZSRE's questions).

The questions are the data set's own, by kind (`source` data). In the embedded world those of each
distance but the first are made from its facts instead, exactly (`source` world): one for each of up
to 50 evenly spaced edits of a block, worded in the style of the edit; none asks a pair that the
block edits. A distance without questions is absent.

Agreement is that of locality, in [0, 1]: the target is forced, and the most likely tokens before
and after are compared (`token_accuracy`, `exact`); means over items. `items` says how many. Source:
Cohen et al. (TACL 2024) and Meng et al. (NeurIPS 2022) for the kinds; putting them in one order is
ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from statistics import fmean
from typing import Any

import numpy as np

from bench.core.cells import Cell
from bench.datasets import get_dataset
from bench.evaluation import metrics
from bench.evaluation.metric_set import Block, Found, MetricSet, Running
from bench.evaluation.metrics import SampleRow, score
from bench.evaluation.probing import Item
from bench.world.relations import RELATIONS, STYLES, Style
from bench.world.world import Fact, World, phrase
from editors.base import EditSample

DISTANCES = ("same_pair", "same_subject", "same_relation", "unrelated")
EDITS_OF_A_BLOCK = 50  # that questions are made for; ours
_DRAWN = 5  # of the generator's seed, so that no other draw has the same numbers


class Distance(MetricSet):
    """See the module."""

    name = "distance"
    version = 1
    title = "agreement with the unedited model by the distance of the question to the edit"

    def before(self, running: Running, blocks: Sequence[Block]) -> Any:
        """The made questions of each block with the unedited model's tokens; None on real data."""
        seed = running.inputs.world_seed
        if seed is None:
            return None
        made = [made_questions(_world(seed), block, [running.cell.seed, i, _DRAWN])
                for i, block in enumerate(blocks)]  # fmt: skip
        answers = iter(running.forced([item for block in made for item in block], edited=False))
        return [
            [
                {"distance": item.kind, "prompt": item.prompt, "target": item.target,
                 "ids": list(next(answers).predicted_ids)}
                for item in block
            ]
            for block in made
        ]  # fmt: skip

    def at_end(self, running: Running, number: int, block: Block, before: Any) -> Any:
        """The edited model's tokens to the block's made questions."""
        if before is None:
            return None
        items = [_item(one["distance"], one["prompt"], one["target"]) for one in before[number]]
        return [list(one.predicted_ids) for one in running.forced(items)]

    def summary(self, cell: Cell, rows: Sequence[SampleRow], found: Found) -> dict[str, Any]:
        """See the module."""
        made = [] if found.before is None else list(_of_world(found))
        own = list(_of_data(cell, rows))
        groups = {}
        for distance in DISTANCES:
            worlds = [pair for where, *pair in made if where == distance]
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


def made_questions(world: World, block: Block, seed: Sequence[int]) -> list[Item]:
    """Questions about a world's facts, one of each distance for evenly spaced edits of a block."""
    rng = np.random.default_rng(list(seed))
    known = [fact_of(sample) for sample in block]
    edited = {fact.pair for fact, _ in filter(None, known)}
    places = np.linspace(0, len(block) - 1, min(EDITS_OF_A_BLOCK, len(block))).round().astype(int)
    items = []
    for place in dict.fromkeys(places.tolist()):
        found = known[place]
        if found is None:
            continue
        fact, style = found
        for distance, pool in _pools(world, fact).items():
            free = [one for one in pool if one.pair not in edited]
            if free:
                one = free[int(rng.integers(len(free)))]
                items.append(_item(distance, phrase(one, style), one.object))
    return items


def fact_of(sample: EditSample) -> tuple[Fact, Style] | None:
    """The fact that a request of the made world writes, and the style that it is worded in."""
    request = sample.request
    for relation in RELATIONS:
        for style in STYLES:
            worded = [form.format(s=request.subject) for form in relation.phrasings(style)]
            if request.prompt in worded:
                return Fact(request.subject, relation.key, request.target), style
    return None


def _pools(world: World, fact: Fact) -> dict[str, Iterable[Fact]]:
    """Distance -> facts that lie so far from one."""
    own = (
        Fact(fact.subject, relation.key, objects[0])
        for relation in RELATIONS
        if relation.key != fact.relation
        and (objects := world.objects.get((fact.subject, relation.key)))
    )
    others = [one for one in world.core_kept if one.subject != fact.subject]
    return {
        "same_subject": own,
        "same_relation": [one for one in others if one.relation == fact.relation],
        "unrelated": [one for one in others if one.relation != fact.relation],
    }


def _item(distance: str, prompt: str, target: str) -> Item:
    return Item(aspect="locality", kind=distance, prompt=prompt, target=target)


def _of_world(found: Found) -> Iterator[tuple[str, float, float]]:
    """(distance, token accuracy, exact) of every made question."""
    for asked, block in zip(found.before, found.blocks, strict=True):
        for one, after in zip(asked, block["end"], strict=True):
            before = one["ids"]
            yield (
                one["distance"], metrics.token_accuracy(after, before), metrics.exact(after, before)
            )  # fmt: skip


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


@lru_cache(maxsize=2)
def _world(seed: int) -> World:
    return World(seed)
