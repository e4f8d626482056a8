"""T-Patcher: its neurons are columns and rows of the real MLP; both modes of training."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from bench.checks.contract.tiny import (
    LAYERS,
    REQUESTS,
    batch_for,
    tiny_gpt2,
    tiny_gptj,
    tiny_llama,
)
from editors.base import Resources
from editors.parts.fast_paths import Stopping
from editors.parts.language_model import LanguageModel
from editors.parts.t_patcher import Neurons, OriginalTraining
from editors.t_patcher import ORIGINAL, TPatcherEditor, TPatcherHparams
from tests.editors.parts.test_patch_neurons import neurons

LAST = LAYERS - 1
PAIRS = [(request.prompt, request.target) for request in REQUESTS]
QUICK = TPatcherHparams(num_steps=4, lr=5e-2)
SHORT_ORIGINAL = dataclasses.replace(ORIGINAL, num_steps=3)


@pytest.fixture
def resources() -> Resources:
    lines = [f"{letter} and then " * 6 + "some more words" for letter in "abcdefghijkl"]
    return Resources(corpus=lambda: lines)


def extend(lm: LanguageModel, added: Neurons) -> None:
    """Write neurons into the last MLP, after its own."""
    row = lm.architecture
    modules = [lm.module(path, LAST) for path in (*row.mlp_in, row.mlp_out)]
    for number, module in enumerate(modules[:-1]):
        widen(module, added.keys[:, number], added.biases[:, number])
    last = modules[-1]
    stored = last.get_parameter("weight").data
    axis = 0 if isinstance(last, Conv1D) else 1  # Conv1D stores (in, out), Linear (out, in)
    values = added.values if axis == 0 else added.values.T
    last.weight = nn.Parameter(torch.cat([stored, values], dim=axis))


def widen(module: nn.Module, keys: Tensor, biases: Tensor) -> None:
    """Give a projection of either kind more outputs."""
    stored = module.get_parameter("weight").data
    if isinstance(module, Conv1D):
        module.weight = nn.Parameter(torch.cat([stored, keys.T], dim=1))
        module.nf += len(keys)
        inner = stored.shape[1]
    else:
        module.weight = nn.Parameter(torch.cat([stored, keys], dim=0))
        inner = stored.shape[0]
    named = dict(module.named_parameters())
    own = named["bias"].data if "bias" in named else torch.zeros(inner)
    module.bias = nn.Parameter(torch.cat([own, biases]))


@torch.no_grad()
def test_neurons_answer_as_columns_and_rows_of_the_mlp(
    tiny_lm: LanguageModel, resources: Resources
) -> None:
    added, rows = neurons(len(tiny_lm.architecture.mlp_in)), batch_for(tiny_lm, PAIRS)
    before = tiny_lm.target_logits(rows)
    editor = TPatcherEditor(tiny_lm, QUICK, resources)
    editor.store.append(added)
    with editor.steering(rows):
        ours = tiny_lm.target_logits(rows)
    extend(tiny_lm, added)
    torch.testing.assert_close(ours, tiny_lm.target_logits(rows), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(ours, before, atol=1e-2)


def test_the_first_step_moves_the_keys_alone(resources: Resources) -> None:
    """Zeros are a saddle: the value's gradient is exactly zero, Adam moves keys by their rate."""
    editor = TPatcherEditor(tiny_llama(), dataclasses.replace(QUICK, num_steps=1), resources)
    editor.edit(REQUESTS[:1])
    neurons = editor.store.neurons
    assert not neurons.values.any()
    torch.testing.assert_close(neurons.biases, torch.full((1, 2), QUICK.lr))


def test_a_neuron_for_each_edit_and_older_ones_stay(
    tiny_lm: LanguageModel, resources: Resources
) -> None:
    editor = TPatcherEditor(tiny_lm, QUICK, resources)
    editor.edit(REQUESTS[:1])
    first = editor.store.state_dict()
    editor.edit(REQUESTS[1:3])
    assert len(editor.store) == 3
    for name, tensor in first.items():
        assert torch.equal(editor.store.state_dict()[name][:1], tensor)


def test_each_step_draws_its_memory_text(resources: Resources) -> None:
    editor = TPatcherEditor(tiny_gpt2(), dataclasses.replace(QUICK, num_steps=30), resources)
    drawn = editor.memory_texts()
    assert len(drawn) == 30
    assert len({id(text) for text in drawn}) > 5  # of 12 lines, each cached once read
    again = TPatcherEditor(tiny_gpt2(), editor.hparams, resources).memory_texts()
    assert all(torch.equal(a, b) for a, b in zip(drawn, again, strict=True))


def test_the_original_takes_a_neuron_for_each_wrong_token(resources: Resources) -> None:
    editor = TPatcherEditor(tiny_gptj(), SHORT_ORIGINAL, resources)
    request = REQUESTS[0]
    row = batch_for(editor.lm, [(request.prompt, request.target)])
    wrong = int((editor.lm.target_logits(row).argmax(-1) != row.labels).sum())
    assert wrong > 5
    editor.edit([request])
    assert len(editor.store) == 5  # the most of one edit
    assert len(editor.state_dict()["own_memory"]) == row.lengths[0] - 2


def test_the_original_leaves_right_answers_alone(resources: Resources) -> None:
    editor = TPatcherEditor(tiny_gptj(), SHORT_ORIGINAL, resources)
    row = batch_for(editor.lm, PAIRS[:1])
    known = int(editor.lm.logits(row)[0, row.prompt_lengths[0] - 1].argmax())
    right = dataclasses.replace(row, target_ids=((known,),))
    trained = editor.edit_row(right)
    assert isinstance(trained, OriginalTraining)
    assert trained.steps == ()
    assert len(editor.store) == 0
    assert len(editor.state_dict()["own_memory"]) == 0


def test_the_original_answers_right_and_stops_early(resources: Resources) -> None:
    hparams = dataclasses.replace(ORIGINAL, num_steps=400, memory_weight=1e-6)
    editor = TPatcherEditor(tiny_gptj(), hparams, resources)
    trained = editor.edit_row(batch_for(editor.lm, [("The sky is", "B")]))
    assert isinstance(trained, OriginalTraining)
    assert 100 <= len(trained.steps) < 400
    assert len(trained.steps) % 25 == 0


@pytest.mark.parametrize(("stopping", "steps"), [("at_once", 125), ("never", 200)])
def test_the_stop_of_the_original_can_be_forced(
    resources: Resources, stopping: Stopping, steps: int
) -> None:
    hparams = dataclasses.replace(ORIGINAL, num_steps=200)
    forced = dataclasses.replace(resources, stopping=stopping)
    trained = TPatcherEditor(tiny_gptj(), hparams, forced).edit_row(
        batch_for(tiny_gptj(), PAIRS[:1])
    )
    assert isinstance(trained, OriginalTraining)
    assert len(trained.steps) == steps


def test_what_is_missing_or_cannot_be_is_named(resources: Resources) -> None:
    with pytest.raises(ValueError, match="corpus of plain text to draw memory from, got none"):
        TPatcherEditor(tiny_gpt2(), QUICK, Resources())
    with pytest.raises(ValueError, match="llama has a gated one; use the mode 'decoder'"):
        TPatcherEditor(tiny_llama(), ORIGINAL, resources)
    assert QUICK.reads_corpus
