from __future__ import annotations

import os

import pytest
import torch

from bench.core.numerics import fixed_arithmetic


def state() -> list[object]:
    return [
        os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
    ]


def test_arithmetic_is_fixed_for_the_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = state()
    with fixed_arithmetic(wanted=False):
        assert state() == before
    with fixed_arithmetic(wanted=True):
        assert state() == [":4096:8", True, True, False, False, False]
    assert state() == before


def test_another_fixed_workspace_of_the_user_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, used in ((":16:8", ":16:8"), (":0:0", ":4096:8")):
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", given)
        with fixed_arithmetic(wanted=True):
            assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == used
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == given
