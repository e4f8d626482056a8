from __future__ import annotations

import torch
from torch import nn

from editors.parts.row_updates import updated_rows


def test_each_row_is_answered_by_its_own_weights() -> None:
    generator = torch.Generator().manual_seed(1)
    module = nn.Linear(3, 2).requires_grad_(False)
    inputs, left, right = (
        torch.randn(*shape, generator=generator) for shape in ((3, 4, 3), (3, 2), (3, 3))
    )
    hits = torch.tensor([True, False, True])
    plain = module(inputs)
    with updated_rows(module, left, right, hits):
        found = module(inputs)
    for row in (0, 2):
        weight = module.weight + torch.outer(left[row], right[row])
        torch.testing.assert_close(found[row], inputs[row] @ weight.T + module.bias)
    assert torch.equal(found[1], plain[1])
    assert torch.equal(module(inputs), plain)


def test_half_precision_comes_back_as_it_went_in() -> None:
    module = nn.Linear(3, 2).half().requires_grad_(False)
    left, right = torch.full((1, 2), 3.0), torch.tensor([[1.0, 0.0, 0.0]])
    inputs = torch.tensor([[[1.0, 5.0, 5.0]]], dtype=torch.float16)
    plain = module(inputs)
    with updated_rows(module, left, right, torch.tensor([True])):
        found = module(inputs)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found, plain + 3)
