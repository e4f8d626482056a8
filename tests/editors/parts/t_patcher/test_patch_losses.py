"""T-Patcher's losses, by hand."""

from __future__ import annotations

from math import e, exp

import pytest
import torch

from editors.parts.t_patcher import shaped
from editors.t_patcher import reply_loss, silence_loss

EXCESS = torch.tensor([[1.0, -1.0], [3.0, 0.0]])


def test_no_positive_excess_costs_nothing_and_has_a_gradient() -> None:
    excess = torch.tensor([-1.0, -2.0], requires_grad=True)
    loss = shaped(excess, "margin")
    loss.backward()
    assert loss.item() == 0
    assert excess.grad is not None
    assert not excess.grad.any()


def test_an_unknown_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="Unknown loss shape 'top_exp'"):
        shaped(EXCESS, "top_exp")


def test_reply_and_silence_sum_over_projections_and_average_over_positions() -> None:
    responses = torch.tensor([[[0.0, 1.0]], [[2.0, -1.0]]])  # [T, N, M] = [2, 1, 2]
    assert float(reply_loss(responses)) == pytest.approx((1 + exp(-2)) / 2 + (1 / e + e) / 2)
    assert float(silence_loss(responses)) == pytest.approx((1 + exp(2)) / 2 + (e + 1) / 2)
    assert float(silence_loss(-responses.abs())) == 2  # the floor: one for each projection


def test_silence_has_no_gradient_at_zero() -> None:
    responses = torch.zeros(3, 1, 2, requires_grad=True)
    silence_loss(responses).backward()
    assert responses.grad is not None
    assert not responses.grad.any()
