from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers import DynamicCache

from bench.checks.contract.tiny import leftovers, tiny_llama
from editors.parts.hooks import (
    captured_input,
    captured_output,
    changed_output,
    hidden_of,
    watched_prefill,
)


class Doubling(nn.Module):
    """Answers a tuple, as some blocks do."""

    def forward(self, x: Tensor) -> tuple[Tensor, str]:
        return 2 * x, "rest"


def chain() -> nn.Sequential:
    return nn.Sequential(nn.Identity(), nn.ReLU(), nn.Flatten(0)).eval()


def test_captures_what_a_module_takes_and_gives() -> None:
    model, x = chain(), torch.tensor([-1.0, 2.0])
    with captured_input(model[1]) as taken, captured_output(model[1]) as given:
        model(x)
    assert taken.value.tolist() == [-1.0, 2.0]
    assert given.value.tolist() == [0.0, 2.0]
    assert leftovers(model) == []


def test_stopping_leaves_the_block_and_runs_nothing_above() -> None:
    model = nn.Sequential(nn.Identity(), nn.ReLU(), Doubling()).eval()
    after_forward = False
    with captured_output(model[2]) as above, captured_output(model[1], stop=True) as given:
        model(torch.tensor([3.0]))
        after_forward = True
    assert given.value.tolist() == [3.0]
    assert not after_forward
    with pytest.raises(RuntimeError, match="has not run"):
        _ = above.value
    assert leftovers(model) == []


def test_stopping_passes_through_inner_captures_that_do_not_stop() -> None:
    model, reached = chain(), False
    with captured_input(model[2], stop=True) as top:
        with captured_input(model[1]) as lower:
            model(torch.tensor([4.0]))
        reached = True
    assert not reached
    assert (lower.value.tolist(), top.value.tolist()) == ([4.0], [4.0])


def test_changed_output_leaves_the_rest_of_a_tuple_and_ends() -> None:
    module = Doubling()
    with changed_output(module, lambda inputs, output: inputs + output):
        assert module(torch.tensor([1.0])) == (torch.tensor([3.0]), "rest")
    assert module(torch.tensor([1.0])) == (torch.tensor([2.0]), "rest")
    with pytest.raises(TypeError, match="got str"):
        hidden_of("text")


def test_hooks_end_by_an_exception() -> None:
    model = chain()

    def fail(_: Tensor, __: Tensor) -> Tensor:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), changed_output(model[1], fail):
        model(torch.tensor([1.0]))
    with pytest.raises(IndexError), captured_input(model[0]):
        raise IndexError
    assert leftovers(model) == []


@torch.no_grad()
def test_prefill_differs_from_cached_steps() -> None:
    lm = tiny_llama()
    cache, ids = DynamicCache(config=lm.model.config), torch.tensor([[5, 6, 7]])
    with watched_prefill(lm.base) as prefill:
        lm.base(input_ids=ids, use_cache=False)
        first = prefill.active
        lm.base(input_ids=ids, past_key_values=cache, use_cache=True)
        second = prefill.active
        lm.base(input_ids=ids[:, :1], past_key_values=cache, use_cache=True)
        third = prefill.active
    assert (first, second, third) == (True, True, False)
    assert leftovers(lm.model) == []
