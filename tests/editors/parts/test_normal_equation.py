"""The least-squares shift: both forms, by hand, and its gradients by automatic differentiation."""

from __future__ import annotations

import pytest
import torch

from editors.parts.normal_equation import shift_gradients, shift_of


def draw(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_one_key_is_divided_by_its_square_plus_lambda() -> None:
    keys = torch.tensor([[[3.0, 4.0]]])  # k k' = 25
    differences = torch.tensor([[[10.0, -5.0, 0.0]]])
    shift = shift_of(keys, differences, torch.tensor(25.0))
    assert shift[0].tolist() == [
        pytest.approx([0.6, -0.3, 0.0]),
        pytest.approx([0.8, -0.4, 0.0]),
    ]


@pytest.mark.parametrize("rows", [2, 9])  # the dual form for 2 keys of width 5, the primal for 9
def test_both_forms_solve_the_normal_equation_and_differentiate_it(rows: int) -> None:
    keys, differences = draw(3, rows, 5, seed=0), draw(3, rows, 4, seed=1)
    upstream = draw(3, 5, 4, seed=2)
    log = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    wanted_by = differences.clone().requires_grad_(True)
    gram = keys.mT @ keys + log.exp() * torch.eye(5)
    solution = torch.linalg.inv(gram) @ keys.mT @ wanted_by
    torch.testing.assert_close(shift_of(keys, differences, log.detach().exp()), solution.detach())
    wanted = torch.autograd.grad((solution * upstream).sum(), [wanted_by, log])
    found = shift_gradients(keys, differences, log.detach().exp(), upstream)
    torch.testing.assert_close(found, wanted)


def test_rows_of_zeros_change_nothing() -> None:
    keys, differences = draw(1, 3, 5, seed=0), draw(1, 3, 4, seed=1)
    regulariser = torch.tensor(0.5)
    padded = [torch.cat([x, torch.zeros(1, 1, x.shape[-1])], dim=1) for x in (keys, differences)]
    alone = shift_of(keys, differences, regulariser)
    torch.testing.assert_close(shift_of(padded[0], padded[1], regulariser), alone)
