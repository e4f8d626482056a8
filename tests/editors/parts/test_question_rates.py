from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from bench.checks.contract.tiny import SAMPLES, write_encoder
from editors.parts.encoder import TextVectors
from editors.parts.question_rates import Questions, chosen_threshold, rates


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> TextVectors:
    encoder = write_encoder(tmp_path_factory.mktemp("encoder") / "encoder")
    return TextVectors.from_directory(encoder, torch.device("cpu"))


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
    scores, weights = rates(vectors, questions)
    assert scores[:2].tolist() == pytest.approx([1.0, 1.0])
    assert weights.tolist() == [0.5, 0.0, -1.0]


def test_a_threshold_needs_probes_of_both_kinds(vectors: TextVectors) -> None:
    bare = [dataclasses.replace(sample, locality=()) for sample in SAMPLES]
    with pytest.raises(ValueError, match="edits with probes of both kinds, got none"):
        chosen_threshold(vectors, bare)
    assert chosen_threshold(vectors, [*bare, *SAMPLES]) == chosen_threshold(vectors, SAMPLES)


def test_it_is_that_of_the_encoder_directory(vectors: TextVectors, tmp_path: Path) -> None:
    again = TextVectors.from_directory(write_encoder(tmp_path / "again"), torch.device("cpu"))
    assert chosen_threshold(again, SAMPLES) == chosen_threshold(vectors, SAMPLES)
