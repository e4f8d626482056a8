"""Which fact a question gets, and where the threshold lies: by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from bench.checks.contract.tiny import SAMPLES, write_encoder
from editors.parts.encoder import TextVectors
from editors.parts.fact_memory import (
    NONE,
    FactMemory,
    Questions,
    best_threshold,
    chosen_threshold,
    hit_rates,
    hit_weights,
)

CPU = torch.device("cpu")
KEYS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])


def memory() -> FactMemory:
    filled = FactMemory(2, CPU)
    filled.append(["one", "zwei: ü", ""], KEYS)
    return filled


def test_the_nearest_is_used_above_the_threshold_and_the_newest_of_equals() -> None:
    queries = torch.tensor([[0.6, 0.8], [0.8, 0.6], [0.5, -0.8]])
    assert memory().retrieve(queries, 0.7).tolist() == [2, 0, NONE]
    assert memory().retrieve(queries, None).tolist() == [2, 0, 0]
    assert memory().retrieve(queries[1:2], 0.8).tolist() == [NONE]  # not above
    row, cosine = memory().nearest(queries[:1])
    assert row.tolist() == [2]
    assert cosine.tolist() == pytest.approx([0.8])


def test_an_empty_memory_has_nothing() -> None:
    assert FactMemory(2, CPU).retrieve(torch.ones(3, 2), None).tolist() == [NONE] * 3


def test_facts_go_through_their_bytes() -> None:
    filled, other = memory(), FactMemory(2, CPU)
    other.load_state_dict(filled.state_dict())
    assert other.facts == filled.facts
    assert torch.equal(other.keys, filled.keys)
    other.load_state_dict(FactMemory(2, CPU).state_dict())
    assert len(other) == 0


@pytest.mark.parametrize(
    ("related", "right", "unrelated", "expected"),
    [
        # all related above all unrelated: the middle of the gap
        ([0.9, 0.8], [True, True], [0.2, 0.4], 0.6),
        # one related below: 1/2 - 0 above 0.6 beats 1 - 1/2 only by being the lowest of equals
        ([0.9, 0.3], [True, True], [0.2, 0.5], 0.25),
        # a question that finds a wrong fact counts nothing
        ([0.9, 0.3], [True, False], [0.2, 0.5], 0.7),
        # nothing to lose: below all scores
        ([0.9], [True], [0.9], 0.899),
    ],
)
def test_the_threshold_by_hand(
    related: list[float], right: list[bool], unrelated: list[float], expected: float
) -> None:
    weights = hit_weights(torch.tensor(right), len(unrelated))
    threshold = best_threshold(torch.tensor(related + unrelated), weights)
    assert threshold == pytest.approx(expected)


def test_related_questions_are_prompts_and_rephrases_of_their_facts() -> None:
    questions = Questions.of(SAMPLES[:2])
    first, second = (sample.request.prompt for sample in SAMPLES[:2])
    assert questions.keys == [first, second]
    related = [(0, first), (0, f"It is said: {first}"), (1, second), (1, f"It is said: {second}")]
    assert questions.related == related
    assert questions.unrelated == ["The sky above the sea is"] * 2


def test_a_related_question_counts_if_its_own_fact_is_the_nearest(vectors: TextVectors) -> None:
    """Facts lie in memory together: a question about one that finds another is no hit."""
    questions = Questions(["one", "the other"], [(0, "one"), (0, "the other")], ["something"])
    scores, weights = hit_rates(vectors, questions)
    assert scores[:2].tolist() == pytest.approx([1.0, 1.0])
    assert weights.tolist() == [0.5, 0.0, -1.0]


def test_a_threshold_needs_probes_of_both_kinds(vectors: TextVectors, tmp_path: Path) -> None:
    bare = [dataclasses.replace(sample, locality=()) for sample in SAMPLES]
    with pytest.raises(ValueError, match="probes of both kinds"):
        chosen_threshold(vectors, bare)
    threshold = chosen_threshold(vectors, SAMPLES)
    assert chosen_threshold(vectors, [*bare, *SAMPLES]) == threshold
    again = TextVectors.from_directory(write_encoder(tmp_path / "again"), CPU)
    assert chosen_threshold(again, SAMPLES) == threshold
