from __future__ import annotations

import pytest
import torch

from editors.parts.rase.gate import Gate, rank

GATE = Gate(maximum=0.9, difference=0.15, spread=0.05)


@pytest.mark.parametrize(
    ("scores", "fires"),
    [
        ((0.95, 0.94, 0.93), True),  # the best is high
        ((0.9, 0.8, 0.8), False),  # not above, and too near the second
        ((0.7, 0.5, 0.5), True),  # 0.2 ahead, standard deviation 0.094
        ((0.7, 0.55, 0.5), False),  # not more than 0.15 ahead
        ((0.5, 0.34, 0.34, 0.45, 0.45, 0.45), True),  # deviation 0.0577
        ((0.5, 0.3, 0.3), True),
        ((0.91,), True),
        ((0.8,), False),  # alone: nothing to stand out from
        ((0.8, 0.2), True),  # two are compared as they are
    ],
)
def test_both_rules_by_hand(scores: tuple[float, ...], fires: bool) -> None:
    top = torch.tensor([scores], dtype=torch.float64)
    assert GATE.fires(top).tolist() == [fires]


def test_a_spread_that_is_too_small_does_not_fire() -> None:
    top = torch.tensor([[0.5, 0.3, 0.3, 0.3]])  # deviation 0.0866
    assert Gate(maximum=0.9, difference=0.15, spread=0.08).fires(top).tolist() == [True]
    assert Gate(maximum=0.9, difference=0.15, spread=0.09).fires(top).tolist() == [False]


def test_ranking_is_by_cosine_and_of_six_at_most() -> None:
    keys = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 4.0]])
    found = rank(torch.tensor([[10.0, 0.0], [0.0, 0.5]]), keys)
    assert found.index.tolist() == [[0, 2, 1], [1, 2, 0]]
    torch.testing.assert_close(found.scores, torch.tensor([[1.0, 0.6, 0.0], [1.0, 0.8, 0.0]]))
    assert found.best.tolist() == [0, 1]
    assert rank(torch.ones(1, 2), torch.rand(9, 2)).scores.shape == (1, 6)


def test_two_way_ranks_anew_by_the_mean_of_both_cosines() -> None:
    keys = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    sentences = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    found = rank(torch.tensor([[1.0, 0.0]]), keys, sentences)
    assert found.index.tolist() == [[1, 0]]
    torch.testing.assert_close(found.scores, torch.tensor([[0.9, 0.5]]))
