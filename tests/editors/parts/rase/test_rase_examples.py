from __future__ import annotations

from dataclasses import replace

import torch

from bench.checks.contract.tiny import SAMPLES
from editors.base import EditSample
from editors.parts.rase.examples import (
    Example,
    TextSampler,
    examples_of,
    fact_prompt,
    fact_text,
    texts_of,
)
from editors.parts.rase.hparams import RaseHparams

FIRST = SAMPLES[0]
MANY = Example("fact", ("edited", *(f"g{n}" for n in range(9))), tuple(f"u{n}" for n in range(9)))


def test_a_fact_is_subject_prompt_and_answer() -> None:
    assert fact_text(FIRST.request) == "Veltria || The capital of Veltria is || Oskamar"
    assert fact_prompt(FIRST.request) == "Veltria || The capital of Veltria is"


def test_samples_without_probes_are_left_out() -> None:
    lacking: list[EditSample] = [replace(FIRST, generality=()), replace(FIRST, locality=())]
    found = examples_of([*lacking, FIRST])
    assert found == [
        Example(
            fact_text(FIRST.request),
            (FIRST.request.prompt, f"It is said: {FIRST.request.prompt}"),
            ("The sky above the sea is",),
        )
    ]


def test_owners_say_which_fact_a_text_belongs_to() -> None:
    texts = texts_of([Example("f0", ("a", "b"), ("c",)), Example("f1", ("d",), ("e", "g"))])
    assert texts.facts == ["f0", "f1"]
    assert list(zip(texts.sentences, texts.owners, strict=True)) == [("a", 0), ("b", 0), ("d", 1)]
    found = list(zip(texts.unrelated, texts.unrelated_owners, strict=True))
    assert found == [("c", 0), ("e", 1), ("g", 1)]


def test_a_draw_keeps_the_edited_prompt_and_at_most_so_many_others() -> None:
    sampler = TextSampler({"a": [MANY]}, RaseHparams(batch_size=3, sentences_per_fact=4), seed=0)
    drawn = sampler.draw()
    assert len(drawn.facts) == 3
    for number in range(3):
        mine = [
            s for s, owner in zip(drawn.sentences, drawn.owners, strict=True) if owner == number
        ]
        assert mine[0] == "edited"
        assert len(mine) == len(set(mine)) == 4
    assert len(drawn.unrelated) == 9


def test_draws_come_from_the_seed_and_can_be_continued() -> None:
    hparams = RaseHparams(batch_size=3)
    one, other = (TextSampler({"a": [MANY]}, hparams, seed) for seed in (0, 1))
    assert one.draw() != other.draw()
    state = one.state_dict()
    expected = one.draw()
    other.load_state_dict({name: tensor.clone() for name, tensor in state.items()})
    assert other.draw() == expected
    assert torch.initial_seed() == torch.default_generator.initial_seed()
