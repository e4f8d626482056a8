from __future__ import annotations

import numpy as np
import pytest

from bench.core.numerics import blocks, draw


def test_draw_is_one_shuffle_by_the_seed_then_the_limit() -> None:
    order = np.arange(10)
    np.random.default_rng(3).shuffle(order)
    assert draw(range(10), seed=3, limit=None) == order.tolist()
    assert draw(range(10), seed=3, limit=4) == order[:4].tolist()
    assert draw(range(10), seed=4, limit=4) != order[:4].tolist()


def test_more_than_there_is_draws_all() -> None:
    assert sorted(draw(range(3), seed=0, limit=50)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, [[0], [1], [2], [3], [4], [5], [6]]),
        (3, [[0, 1, 2], [3, 4, 5]]),  # 6 is an incomplete tail
        (7, [[0, 1, 2, 3, 4, 5, 6]]),
    ],
)
def test_blocks_are_disjoint_and_complete(n: int, expected: list[list[int]]) -> None:
    assert blocks(range(7), n) == expected


def test_fewer_samples_than_a_block_are_refused() -> None:
    with pytest.raises(ValueError, match="8 sequential edits need as many samples, got 7"):
        blocks(range(7), 8)
