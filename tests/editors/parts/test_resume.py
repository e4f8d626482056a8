from __future__ import annotations

import pytest
import torch

from editors.parts.hooks import captured_output
from editors.parts.language_model import LanguageModel
from editors.parts.resume import block_input, resumed
from editors.parts.tokens import batch_of
from tests.support.contract import leftovers, weights
from tests.support.tiny import LAYERS, REQUESTS

PAIRS = [(request.prompt, request.target) for request in REQUESTS]


@torch.no_grad()
@pytest.mark.parametrize("layer", range(LAYERS))
def test_a_resumed_forward_is_a_whole_one_to_the_bit(tiny_lm: LanguageModel, layer: int) -> None:
    batch = batch_of(tiny_lm.tokenizer, PAIRS, device=tiny_lm.device)
    whole, names = tiny_lm.logits(batch), list(weights(tiny_lm.model))
    hidden = block_input(tiny_lm, batch, layer)
    below = tiny_lm.module(tiny_lm.architecture.block, 0)
    with resumed(tiny_lm, layer, hidden), captured_output(below) as ran:
        assert torch.equal(tiny_lm.logits(batch), whole)
    if layer:
        with pytest.raises(RuntimeError, match="has not run"):
            _ = ran.value
    assert torch.equal(tiny_lm.logits(batch), whole)
    assert list(weights(tiny_lm.model)) == names
    assert leftovers(tiny_lm.model) == []


def test_the_model_is_whole_again_after_an_exception(tiny_lm: LanguageModel) -> None:
    names = list(weights(tiny_lm.model))
    with pytest.raises(ZeroDivisionError), resumed(tiny_lm, 2, torch.zeros(1)):
        raise ZeroDivisionError
    assert list(weights(tiny_lm.model)) == names
    assert leftovers(tiny_lm.model) == []
