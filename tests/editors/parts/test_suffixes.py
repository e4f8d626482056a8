from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bench.checks.contract.tiny import LAYERS, REQUESTS, batch_for, leftovers, weights
from editors.parts.hooks import changed_output
from editors.parts.language_model import LanguageModel
from editors.parts.suffixes import Suffixes, resumed
from editors.parts.tokens import TokenBatch

PAIRS = [(request.prompt, request.target) for request in REQUESTS]
STARTS = [4, 0, 9, 17]


@pytest.fixture
def lm(tiny_lm: LanguageModel) -> LanguageModel:
    tiny_lm.model.double()
    return tiny_lm


@pytest.fixture
def batch(lm: LanguageModel) -> TokenBatch:
    return batch_for(lm, PAIRS)


def whole(lm: LanguageModel, batch: TokenBatch, layer: int, delta: Tensor) -> Tensor:
    """Final states where delta is added to the output of a block at the starts of all rows."""

    def add(_: Tensor, output: Tensor) -> Tensor:
        places = (torch.arange(len(batch)), torch.tensor(STARTS))
        return output.index_put(places, delta.expand(len(batch), -1), accumulate=True)

    with changed_output(lm.module(lm.architecture.block, layer), add):
        return lm.hidden_states(batch)


@pytest.mark.parametrize("layer", range(LAYERS))
def test_rows_from_their_starts_are_those_of_a_whole_forward(
    lm: LanguageModel, batch: TokenBatch, layer: int
) -> None:
    suffixes = Suffixes(lm, batch, STARTS, [layer + 1])
    delta = torch.linspace(-1.0, 1.0, lm.hidden_size, dtype=torch.float64).requires_grad_()
    entering = suffixes.entering[layer + 1]
    hidden = torch.cat([entering[:, :1] + delta, entering[:, 1:]], dim=1)
    actual, expected = suffixes.final(hidden, layer + 1), whole(lm, batch, layer, delta)
    for row, (start, length) in enumerate(zip(STARTS, batch.lengths, strict=True)):
        part = actual[row, : length - start]
        torch.testing.assert_close(part, expected[row, start:length], rtol=0, atol=1e-12)
    rows, columns = batch.scored_positions
    moved = columns - torch.tensor(STARTS)[rows]
    (ours,) = torch.autograd.grad(actual[rows, moved].square().sum(), delta)
    (theirs,) = torch.autograd.grad(expected[rows, columns].square().sum(), delta)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    assert leftovers(lm.model) == []


def test_one_pass_serves_several_layers(lm: LanguageModel, batch: TokenBatch) -> None:
    together = Suffixes(lm, batch, STARTS, [0, 1, LAYERS])
    for layer in (0, 1, LAYERS):
        alone = Suffixes(lm, batch, STARTS, [layer])
        assert torch.equal(together.entering[layer], alone.entering[layer])
        actual = together.final(together.entering[layer], layer)
        torch.testing.assert_close(actual, alone.final(alone.entering[layer], layer))


def test_rows_may_start_at_their_first_token(lm: LanguageModel, batch: TokenBatch) -> None:
    suffixes = Suffixes(lm, batch, [0] * len(batch), [1])
    actual, expected = suffixes.final(suffixes.entering[1], 1), lm.hidden_states(batch)
    for row, length in enumerate(batch.lengths):
        torch.testing.assert_close(actual[row, :length], expected[row, :length], rtol=0, atol=1e-12)


def test_a_second_step_is_not_changed_by_the_first(lm: LanguageModel, batch: TokenBatch) -> None:
    suffixes = Suffixes(lm, batch, STARTS, [1])
    first = suffixes.final(suffixes.entering[1], 1)
    suffixes.final(suffixes.entering[1] * 3, 1)
    assert torch.equal(suffixes.final(suffixes.entering[1], 1), first)


def test_the_model_is_whole_again_after_an_exception(tiny_lm: LanguageModel) -> None:
    names = list(weights(tiny_lm.model))
    with pytest.raises(ZeroDivisionError), resumed(tiny_lm, 2, torch.zeros(1)):
        raise ZeroDivisionError
    assert list(weights(tiny_lm.model)) == names
    assert leftovers(tiny_lm.model) == []
