"""How the schedules weigh the loss terms, by hand."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from editors.parts.recipe.hparams import PAPER
from editors.parts.recipe.objective import Terms

TERMS = Terms(*(torch.tensor(2.0**power) for power in range(6)))  # 1, 2 | 4 | 8, 16, 32


@pytest.mark.parametrize(
    ("schedule", "total"),
    [("joint", 3 + 0.5 * 60), ("staged", 3 + 0.5 * 60), ("late_locality", 3 + 56 + 0.5 * 4)],
)
def test_a_ramp_holds_back_what_its_schedule_names(schedule: str, total: float) -> None:
    hparams = type(PAPER).from_dict(PAPER.to_dict() | {"schedule": schedule})
    assert float(TERMS.total(hparams, 0.5)) == total
    assert float(TERMS.total(hparams)) == 63


def test_weights_multiply_their_terms() -> None:
    hparams = dataclasses.replace(PAPER, weight_locality=10.0, weight_contrastive=0.0)
    assert float(TERMS.total(hparams)) == 3 + 40
