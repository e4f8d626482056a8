"""Editors on models of half precision: what they write is stored in float32, reset is exact."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from bench.checks.contract.tiny import REQUESTS, Subject, leftovers, log_probability, weights
from editors import registry
from editors.parts.covariance import InverseCovariance

FIRST, SECOND, *_ = REQUESTS


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("key", registry.available())
def test_edits_continue_and_are_undone(key: str, dtype: torch.dtype, artefacts: Path) -> None:
    editor = Subject(key=key, architecture="llama", directory=artefacts).editor(dtype=dtype)
    lm = editor.lm
    before, unedited = weights(lm.model), log_probability(editor, FIRST)
    empty = editor.state_dict()
    editor.edit([FIRST])
    state, answer = editor.state_dict(), log_probability(editor, FIRST)
    assert math.isfinite(answer)
    assert answer != unedited
    editor.edit([SECOND])
    editor.reset()
    assert all(torch.equal(value, before[name]) for name, value in weights(lm.model).items())
    assert log_probability(editor, FIRST) == unedited
    editor.load_state_dict(state)
    assert log_probability(editor, FIRST) == answer
    editor.load_state_dict(empty)
    assert log_probability(editor, FIRST) == unedited
    assert leftovers(lm.model) == []


def test_the_inverse_of_a_covariance_stays_in_single_precision() -> None:
    """Rounded to half precision it would be another matrix, or none: a small C has a large one."""
    spectrum = torch.logspace(-6, 0, 16)
    basis = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(0)))[0]
    matrix = basis * spectrum @ basis.T * 1e-3
    inverse = InverseCovariance(lambda layer: matrix)(0, torch.zeros(1, dtype=torch.float16))
    assert inverse.isfinite().all()
    identity = inverse.double() @ matrix.double()
    torch.testing.assert_close(identity, torch.eye(16).double(), atol=0.05, rtol=0)
