from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.checks.contract.tiny import (
    CONTEXT,
    REQUESTS,
    SAMPLES,
    batch_for,
    tiny_llama,
)
from editors.base import EditRequest, Resources
from editors.ike import DemonstrationPool, IkeEditor, IkeHparams, answered, demonstration, kinds_of
from editors.parts.encoder import TextVectors
from editors.parts.tokens import prompt_ids

FIRST, SECOND, *_ = REQUESTS
FACT = "New Fact: The capital of Veltria is Oskamar\nPrompt:"
OWN = f"{FACT} The capital of Veltria is Oskamar"


def editor_of(encoder: Path, *, context: int = 2_000, **changes: Any) -> IkeEditor:
    lm = tiny_llama()
    lm.model.config.max_position_embeddings = context
    resources = Resources(encoder=encoder, training=lambda: SAMPLES)
    return IkeEditor(lm, IkeHparams(**changes), resources)


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("copy", "The capital of Veltria is Oskamar"),
        ("update", "It is said: The capital of Veltria is Oskamar"),
        ("retain", "The sky above the sea is blue"),
    ],
)
def test_a_demonstration_states_the_fact_and_answers_a_question(kind: str, asked: str) -> None:
    assert demonstration(SAMPLES[0], kind, 0.99) == f"{FACT} {asked}"


def test_no_space_stands_where_a_script_has_none() -> None:
    request = EditRequest(prompt="\u9996\u90fd\u662f", target="\u5317\u4eac", subject="")
    text = answered(request, request)
    assert (
        text == "New Fact: \u9996\u90fd\u662f\u5317\u4eac\nPrompt: \u9996\u90fd\u662f\u5317\u4eac"
    )


@pytest.mark.parametrize(
    ("count", "numbers"),
    [(32, (4, 12, 16)), (16, (2, 6, 8)), (8, (1, 3, 4)), (4, (0, 2, 2)), (1, (0, 0, 1))],
)
def test_kinds_have_the_originals_proportions(count: int, numbers: tuple[int, int, int]) -> None:
    counted = Counter(kinds_of(count))
    assert tuple(counted[kind] for kind in ("copy", "update", "retain")) == numbers


def test_the_nearest_training_edits_are_shown(vectors: TextVectors) -> None:
    pool = DemonstrationPool(vectors, SAMPLES, seed=0)
    shown = pool.nearest(FIRST, 4)
    assert shown[0].startswith(FACT)  # nothing is nearer to a fact than itself
    facts = {text.split("\n")[0] for text in shown}
    assert len(facts) == len(SAMPLES)
    assert len(pool.nearest(FIRST, 99)) == len(SAMPLES)


def test_draws_depend_on_the_fact_and_the_seed_alone(vectors: TextVectors) -> None:
    pool, other = (DemonstrationPool(vectors, SAMPLES, seed=0) for _ in range(2))
    pool.nearest(SECOND, 4)
    assert pool.nearest(FIRST, 4) == other.nearest(FIRST, 4)
    seeds = {tuple(DemonstrationPool(vectors, SAMPLES, s).nearest(FIRST, 4)) for s in range(8)}
    assert len(seeds) > 1


def test_the_nearest_demonstration_comes_last_but_for_the_facts_own(encoder: Path) -> None:
    editor = editor_of(encoder, demonstrations=3)
    parts = editor.context_of(FIRST).split("\n\n")
    assert parts[-2:] == [OWN, f"{FACT} "]
    assert len(parts) == 5
    assert parts[2].startswith(FACT)


def test_the_farthest_are_left_out_where_the_context_is_short(encoder: Path) -> None:
    whole = editor_of(encoder, demonstrations=3).context_of(FIRST).split("\n\n")
    lengths = []
    for context in (600, 400, 330, 250, 100):
        editor = editor_of(encoder, context=context, demonstrations=3, room=50)
        text = editor.context_of(FIRST)
        parts = text.split("\n\n")
        assert parts == whole[len(whole) - len(parts) :]
        assert len(parts) == 1 or len(prompt_ids(editor.lm.tokenizer, text)) <= context - 50
        lengths.append(len(parts))
    assert lengths == sorted(lengths, reverse=True)
    assert (lengths[0], lengths[-1]) == (5, 1)


def test_a_long_question_displaces_demonstrations(encoder: Path) -> None:
    editor = editor_of(encoder, context=600, demonstrations=3, room=50)
    editor.edit([FIRST])
    context = editor.memory.facts[0]
    short, long = (editor.prefix(context, length) for length in (40, 300))
    assert len(long) < len(short)
    assert len(long) + 300 <= 600
    assert editor.prefix(context, 599)  # the fact itself stays


def test_a_question_about_nothing_is_asked_as_it_is(encoder: Path) -> None:
    editor = editor_of(encoder, context=CONTEXT, demonstrations=0, threshold=0.9999)
    editor.edit([FIRST])
    batch = batch_for(editor.lm, [("Something else altogether?", "blue")])
    before = editor.lm.target_logits(batch)
    with editor.steering(batch):
        assert editor.lm.target_logits(batch).equal(before)


def test_missing_resources_are_named(encoder: Path) -> None:
    with pytest.raises(ValueError, match="IKE needs training edits in its resources"):
        IkeEditor(tiny_llama(), IkeHparams(threshold=0.5), Resources(encoder=encoder))
    bare = tuple(dataclasses.replace(sample, generality=()) for sample in SAMPLES)
    resources = Resources(encoder=encoder, training=lambda: bare)
    with pytest.raises(ValueError, match="Demonstrations need edits with probes of both kinds"):
        IkeEditor(tiny_llama(), IkeHparams(threshold=0.5), resources)
