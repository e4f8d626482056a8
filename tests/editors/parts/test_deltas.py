from __future__ import annotations

from contextlib import suppress

import pytest
import torch
from torch import nn

from editors.parts.deltas import EditedWeights, WeightDelta, thawed, tried_out


def linear() -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Linear(3, 2).requires_grad_(False)


def test_deltas_add_up_and_are_undone_to_the_bit() -> None:
    model = linear()
    pristine = model.weight.clone()
    edited = EditedWeights(model)
    for _ in range(3):
        edited.add([WeightDelta("weight", torch.full((2, 3), 0.1, dtype=torch.float64))])
    torch.testing.assert_close(model.weight.data, pristine + 0.3)
    assert list(edited.touched) == ["weight"]
    edited.restore()
    assert torch.equal(model.weight, pristine)
    assert list(edited.touched) == []


def test_state_holds_values_and_replaces_other_edits() -> None:
    model, other = linear(), linear()
    edited, loaded = EditedWeights(model), EditedWeights(other)
    edited.add([WeightDelta("weight", torch.rand(2, 3, generator=torch.Generator()))])
    loaded.add([WeightDelta("bias", torch.ones(2))])
    loaded.load_state_dict(edited.state_dict())
    assert torch.equal(other.weight, model.weight)
    assert torch.equal(other.bias, model.bias)
    loaded.restore()
    assert torch.equal(other.weight, linear().weight)


@pytest.mark.parametrize("state", [{"scale": torch.ones(2)}, {"weight": torch.ones(3, 2)}])
def test_a_state_of_another_model_is_refused_and_changes_nothing(
    state: dict[str, torch.Tensor],
) -> None:
    model = linear()
    edited = EditedWeights(model)
    edited.add([WeightDelta("bias", torch.ones(2))])
    before = model.bias.clone()
    with pytest.raises(ValueError, match="this model does not have"):
        edited.load_state_dict(state)
    assert torch.equal(model.bias, before)


def test_thawed_parameters_freeze_again_with_their_values() -> None:
    model = linear()
    before = model.weight.clone()
    with suppress(ZeroDivisionError), thawed(model, ["weight"]) as parameters:
        assert model.weight.requires_grad
        assert not model.bias.requires_grad
        model(torch.ones(3)).sum().backward()
        parameters["weight"].data.add_(1.0)
        raise ZeroDivisionError
    assert torch.equal(model.weight, before)
    assert not model.weight.requires_grad
    assert model.weight.grad is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_many_small_deltas_add_up_beside_half_precision(dtype: torch.dtype) -> None:
    model = linear().to(dtype)
    with torch.no_grad():
        model.weight.fill_(1.0)
    edited = EditedWeights(model)
    for _ in range(100):  # each a tenth of what either type resolves at 1, or less
        edited.add([WeightDelta("weight", torch.full((2, 3), 1e-4))])
    assert model.weight.dtype == dtype
    assert torch.equal(model.weight, torch.full((2, 3), 1.01).to(dtype))
    assert edited.state_dict()["weight"].dtype == torch.float32
    edited.restore()
    assert torch.equal(model.weight, torch.ones(2, 3, dtype=dtype))


def test_half_precision_is_trained_through_a_float32_master() -> None:
    model = linear().bfloat16()
    before, inputs = model.weight.clone(), torch.ones(4, 3, dtype=torch.bfloat16)
    with thawed(model, ["weight", "bias"]) as parameters:
        assert {p.dtype for p in parameters.values()} == {torch.float32}
        optimizer = torch.optim.SGD(parameters.values(), lr=1e-4)
        for _ in range(50):
            optimizer.zero_grad()
            model(inputs).sum().backward()
            assert parameters["weight"].grad is not None
            optimizer.step()
        moved = parameters["weight"].detach() - before.float()
    # The gradient of each weight is the number of rows.
    torch.testing.assert_close(moved, torch.full((2, 3), -4 * 50 * 1e-4), atol=1e-6, rtol=1e-4)
    assert torch.equal(model.weight, before)
    assert not model.weight.requires_grad
    assert model.weight.grad is None
    model(inputs)
    assert torch.equal(model.weight, before)


def test_deltas_that_are_tried_out_go_again_also_by_an_exception() -> None:
    model = linear()
    edited = EditedWeights(model)
    edited.add([WeightDelta("weight", torch.full((2, 3), 0.1))])
    before = model.weight.clone()
    with suppress(RuntimeError), tried_out(model) as weights:
        weights.add([WeightDelta("weight", torch.ones(2, 3))])
        torch.testing.assert_close(model.weight.data, before + 1)
        raise RuntimeError
    assert torch.equal(model.weight, before)
    edited.restore()
    assert torch.equal(model.weight, linear().weight)
