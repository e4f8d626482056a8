"""Draws by a seed, blocks, fixed arithmetic, and spread over seeds, by hand."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from bench.core.numerics import blocks, draw, fixed_arithmetic, spread


def test_parts_are_disjoint_and_the_first_is_the_draw_of_seed_0() -> None:
    parts = [draw(range(10), seed=7, limit=3, part=part) for part in range(3)]
    assert parts[0] == draw(range(10), seed=0, limit=3)
    assert len({sample for part in parts for sample in part}) == 9


def test_draw_is_one_shuffle_by_the_seed_then_the_limit() -> None:
    order = np.arange(10)
    np.random.default_rng(3).shuffle(order)
    assert draw(range(10), seed=3, limit=None) == order.tolist()
    assert draw(range(10), seed=3, limit=4) == order[:4].tolist()
    assert draw(range(10), seed=4, limit=4) != order[:4].tolist()
    assert sorted(draw(range(3), seed=0, limit=50)) == [0, 1, 2]  # more than there are


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


def test_sample_standard_deviation() -> None:
    both = spread([2.0, 4.0, 9.0])  # deviations -3, -1, 4: (9 + 1 + 16) / 2 = 13
    assert (both.mean, both.n) == (5.0, 3)
    assert both.std == pytest.approx(13**0.5)
    assert spread([7.5]).std is None
    with pytest.raises(ValueError, match="at least one value"):
        spread([])


def state() -> list[object]:
    return [
        os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
    ]


def test_arithmetic_is_fixed_within_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = state()
    with fixed_arithmetic(wanted=False):
        assert state() == before
    with fixed_arithmetic(wanted=True):
        assert state() == [":4096:8", True, True, False, False, False]
    assert state() == before


@pytest.mark.parametrize(("given", "used"), [(":16:8", ":16:8"), (":0:0", ":4096:8")])
def test_another_fixed_workspace_of_the_user_holds(
    given: str, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", given)
    with fixed_arithmetic(wanted=True):
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == used
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == given
