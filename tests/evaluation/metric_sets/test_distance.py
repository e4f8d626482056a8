from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import pytest

from bench.checks.contract.tiny import tiny_llama
from bench.datasets import get_dataset
from bench.evaluation.metric_sets import MeasureInputs, SetResults, get_set
from bench.evaluation.metric_sets.distance import DISTANCES, fact_of, generated_questions
from bench.world.files import draw_edits
from bench.world.world import BY_KEY, Fact, World, phrase
from editors.base import EditRequest, EditSample
from tests.core.test_cells import CELL
from tests.evaluation.metric_sets.by_hand import item, row, running
from tests.support.fake_editors import DoNothing, Shift

SET = get_set("distance")


@cache
def world() -> World:
    return World(0)


def sample(prompt: str, target: str, subject: str) -> EditSample:
    request = EditRequest(prompt=prompt, target=target, subject=subject)
    return EditSample(id=subject, request=request, generality=(), locality=())


@cache
def block() -> tuple[EditSample, ...]:
    """Edits of the world, in the style of CF."""
    edits = draw_edits(world(), "test", 60, world().rng("a test of distances"))
    facts = [edit.fact for edit in edits]
    return tuple(sample(phrase(fact, "cloze"), fact.object, fact.subject) for fact in facts)


def facts() -> dict[str, Fact]:
    """Every fact of the world by its wording in the style of CF."""
    all_facts = [*world().core, *world().unseen["test"].facts]
    return {phrase(fact, "cloze"): fact for fact in all_facts}


def test_generated_questions_lie_where_they_say() -> None:
    known = [pair[0] for edited in block() if (pair := fact_of(edited)) is not None]
    assert len(known) == len(block())
    edited = {fact.pair for fact in known}
    items = generated_questions(world(), block(), [0])
    by_prompt = facts()
    counts = dict.fromkeys(DISTANCES, 0)
    for question in items:
        fact = by_prompt[question.prompt]
        assert fact.pair not in edited
        assert question.target in world().objects[fact.pair]
        counts[question.kind] += 1
    assert counts == {"same_pair": 0, "same_subject": 50, "same_relation": 50, "unrelated": 50}
    places = sorted({round(i * 59 / 49) for i in range(50)})
    for place, trio in zip(places, zip(*[iter(items)] * 3, strict=True), strict=True):
        own = known[place]
        near, middle, far = (by_prompt[q.prompt] for q in trio)
        assert (near.subject, near.relation != own.relation) == (own.subject, True)
        assert (middle.relation, middle.subject != own.subject) == (own.relation, True)
        assert far.relation != own.relation
        assert far.subject != own.subject
    assert generated_questions(world(), block(), [0]) == items
    assert generated_questions(world(), block(), [1]) != items


def test_a_request_of_the_world_is_found_in_every_style() -> None:
    fact = world().core_test[0]
    for style in ("question", "cloze", "inverted", "indirect"):
        pair = fact_of(sample(phrase(fact, style, 1), "x", fact.subject))
        assert pair is not None
        assert pair[0] == dataclasses.replace(fact, object="x")
        assert BY_KEY[pair[0].relation].phrasings[pair[1]]
    assert fact_of(sample("Who is it?", "x", "it")) is None


def asked(distance: str, ids: list[int]) -> dict[str, Any]:
    return {"distance": distance, "prompt": "p", "target": "t", "ids": ids}


def test_agreement_is_the_mean_over_items() -> None:
    before = [
        [asked("same_subject", [1, 2]), asked("unrelated", [5])],
        [asked("same_subject", [3, 4, 5, 6])],
    ]
    blocks = [{"stages": {}, "end": [[1, 2], [5]]}, {"stages": {}, "end": [[3, 0, 0, 0]]}]
    cell = dataclasses.replace(CELL, dataset="ripple_edits")
    locality = ("locality", "Forgetfulness")
    rows = [row(0, item(*locality, [1, 2], [1, 9], [7, 7]), item(*locality, [4], [4], [7]))]
    summary = SET.summary(cell, rows, SetResults(before=before, blocks=blocks))
    assert summary["groups"] == {
        "same_pair": {"source": "data", "items": 2, "token_accuracy": 0.75, "exact": 0.5},
        "same_subject": {"source": "world", "items": 2, "token_accuracy": 0.625, "exact": 0.5},
        "unrelated": {"source": "world", "items": 1, "token_accuracy": 1.0, "exact": 1.0},
    }
    columns = SET.columns(summary)
    assert (columns["same subject"], columns["n same subject"]) == (62.5, 2)
    assert columns["same relation"] is None


@pytest.mark.parametrize(
    ("dataset", "kind", "distance"),
    [
        ("zsre", "unrelated", "unrelated"),
        ("counterfact", "neighbour", "same_relation"),
        ("ripple_edits", "Relation_Specificity", "same_subject"),
        ("ripple_edits", "Forgetfulness", "same_pair"),
    ],
)
def test_real_data_are_grouped_by_kind(dataset: str, kind: str, distance: str) -> None:
    cell = dataclasses.replace(CELL, dataset=dataset)
    rows = [row(0, item("locality", kind, [1], [1], [2]), item("reliability", "r", [1], [1], [2]))]
    results = SetResults(before=None, blocks=[{"stages": {}, "end": None}])
    groups = SET.summary(cell, rows, results)["groups"]
    assert set(get_dataset(dataset).distances.values()) <= set(DISTANCES)
    assert groups == {distance: {"source": "data", "items": 1, "token_accuracy": 1.0, "exact": 1.0}}


def test_an_editor_that_does_nothing_agrees_everywhere_and_batches_do_not_matter() -> None:
    edits = block()[:4]
    cell = dataclasses.replace(CELL, n_edits=4, limit=4)
    inputs = MeasureInputs(world_seed=0)
    ends = []
    for rows in (1, 5, 64):
        cell_run = running(cell, DoNothing(tiny_llama()), edits, inputs=inputs, rows=rows)
        before = SET.before(cell_run, [edits])
        end = SET.at_end(cell_run, 0, edits, before)
        results = SetResults(before=before, blocks=[{"stages": {}, "end": end}])
        groups = SET.summary(cell, [], results)["groups"]
        assert {group["token_accuracy"] for group in groups.values()} == {1.0}
        ends.append((before, end))
    assert ends[0] == ends[1] == ends[2]
    editor = Shift(tiny_llama())
    editor.edit([edits[0].request])
    moved = running(cell, editor, edits, inputs=inputs)
    assert SET.at_end(moved, 0, edits, ends[0][0]) != ends[0][1]
