"""The editor that stands for a model edited elsewhere."""

from __future__ import annotations

import pytest
import torch

from bench.checks.contract.tiny import REQUESTS, TINY, logits, tiny_gpt2, tiny_llama, weights
from bench.runner.scoring import External

PAIRS = [(request.prompt, request.target) for request in REQUESTS]


def test_it_has_all_edits_at_once_and_resets_to_the_bit() -> None:
    lm, other = tiny_llama(), tiny_llama()
    row = lm.architecture.mlp_out.format(0)
    with torch.no_grad():
        other.module(row).get_parameter("weight").add_(0.05)
    before = weights(lm.model)
    editor = External(lm, dict(other.model.named_parameters()))
    unedited = logits(editor, PAIRS)
    editor.edit([])
    assert torch.equal(logits(editor, PAIRS), unedited)
    editor.edit(REQUESTS[:1])
    edited = logits(editor, PAIRS)
    state = editor.state_dict()
    editor.edit(REQUESTS[1:2])
    assert torch.equal(logits(editor, PAIRS), edited)
    same = External(other, dict(tiny_llama().model.named_parameters()))  # unedited
    assert torch.equal(logits(same, PAIRS), edited)
    editor.reset()
    assert torch.equal(logits(editor, PAIRS), unedited)
    editor.load_state_dict(state)
    assert torch.equal(logits(editor, PAIRS), edited)
    editor.reset()
    assert all(torch.equal(tensor, weights(lm.model)[name]) for name, tensor in before.items())


def test_it_wants_an_edited_form_of_its_base() -> None:
    lm = tiny_llama()
    with pytest.raises(ValueError, match="has the very weights of its base"):
        External(lm, dict(TINY["llama"]().model.named_parameters()))
    with pytest.raises(ValueError, match="has other weights than its base"):
        External(lm, dict(tiny_gpt2().model.named_parameters()))
