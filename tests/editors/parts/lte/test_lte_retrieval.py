"""Which fact a question gets, and where the threshold lies: by hand."""

from __future__ import annotations

import pytest
import torch

from editors.parts.lte.memory import NONE, FactMemory
from editors.parts.retrieval_threshold import best_threshold, hit_weights

CPU = torch.device("cpu")
KEYS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])


def memory() -> FactMemory:
    made = FactMemory(2, CPU)
    made.append(["one", "zwei: ü", ""], KEYS)
    return made


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
    made, other = memory(), FactMemory(2, CPU)
    other.load_state_dict(made.state_dict())
    assert other.facts == made.facts
    assert torch.equal(other.keys, made.keys)
    other.load_state_dict(FactMemory(2, CPU).state_dict())
    assert len(other) == 0


@pytest.mark.parametrize(
    ("related", "right", "unrelated", "expected"),
    [
        # all related above all unrelated: the middle of the gap
        ([0.9, 0.8], [True, True], [0.2, 0.4], 0.6),
        # one related below: 1/2 - 0 above 0.6 beats 1 - 1/2 only by being the lowest of equals
        ([0.9, 0.3], [True, True], [0.2, 0.5], 0.25),
        # what finds a wrong fact counts nothing
        ([0.9, 0.3], [True, False], [0.2, 0.5], 0.7),
        # nothing to lose: below all scores
        ([0.9], [True], [0.9], 0.899),
    ],
)
def test_the_threshold_by_hand(
    related: list[float], right: list[bool], unrelated: list[float], expected: float
) -> None:
    weights = hit_weights(torch.tensor(right), len(unrelated))
    found = best_threshold(torch.tensor(related + unrelated), weights)
    assert found == pytest.approx(expected)
