"""The LTE editor over a tiny trained artefact."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from bench.checks.contract.tiny import REQUESTS, batch_for, tiny_llama
from editors.base import Resources
from editors.lte import LteEditor
from editors.parts.artefact import read_artefact
from editors.parts.language_model import LanguageModel
from editors.parts.lte_hparams import TINY
from tests.support.tiny_files import resources, samples

OPEN = dataclasses.replace(TINY, threshold=-1.0)  # every question retrieves something
SHUT = dataclasses.replace(TINY, threshold=1.1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Resources:
    directory = tmp_path_factory.mktemp("lte")
    given = resources(directory)
    artefact = LteEditor.fit(tiny_llama(), {"zsre": samples()}, TINY, given, out=directory)
    return dataclasses.replace(given, artefact=artefact)


def follower(trained: Resources) -> LanguageModel:
    """The model with the artefact's increments added by hand."""
    assert trained.artefact is not None
    lm = tiny_llama()
    with torch.no_grad():
        for name, delta in read_artefact(trained.artefact)[0].items():
            if name != "threshold":
                lm.model.get_parameter(name.replace("/", ".")).add_(delta.float())
    return lm


@torch.no_grad()
def test_a_hit_is_the_follower_reading_the_fact(trained: Resources) -> None:
    editor = LteEditor(tiny_llama(), OPEN, trained)
    editor.edit(REQUESTS[:1])
    rows = batch_for(editor.lm, [(REQUESTS[0].prompt, "")])
    with editor.steering(rows):
        ours = editor.lm.logits(rows)[0, -1]
    with_fact = (
        "[Updated Information]The capital of Veltria is Oskamar\n[Query]The capital of Veltria is"
    )
    by_hand = follower(trained)
    theirs = by_hand.logits(batch_for(by_hand, [(with_fact, "")]))[0, -1]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_miss_is_the_follower_reading_the_question_alone(trained: Resources) -> None:
    editor = LteEditor(tiny_llama(), SHUT, trained)
    rows = batch_for(editor.lm, [("The sky", "")])
    pristine = editor.lm.logits(rows)
    editor.edit(REQUESTS[:1])
    with editor.steering(rows):
        ours = editor.lm.logits(rows)
    assert torch.equal(ours, follower(trained).logits(rows))
    assert not torch.equal(ours, pristine)
    editor.reset()
    with editor.steering(rows):
        assert torch.equal(editor.lm.logits(rows), pristine)


def test_the_follower_comes_with_the_first_edit_and_with_a_loaded_one(trained: Resources) -> None:
    editor, other = (LteEditor(tiny_llama(), OPEN, trained) for _ in range(2))
    weight = editor.lm.model.get_parameter("model.norm.weight")
    pristine = weight.clone()
    empty = editor.state_dict()
    editor.edit([])
    assert torch.equal(weight, pristine)
    editor.edit(REQUESTS[:1])
    attached = weight.clone()
    assert not torch.equal(attached, pristine)
    editor.edit(REQUESTS[1:2])
    assert torch.equal(weight, attached)
    other.load_state_dict(editor.state_dict())
    assert torch.equal(other.lm.model.get_parameter("model.norm.weight"), attached)
    other.load_state_dict(empty)
    assert torch.equal(other.lm.model.get_parameter("model.norm.weight"), pristine)


def test_the_threshold_is_the_calibrated_one_unless_given(trained: Resources) -> None:
    assert trained.artefact is not None
    calibrated = float(read_artefact(trained.artefact)[0]["threshold"])
    assert LteEditor(tiny_llama(), TINY, trained).threshold == calibrated
    given = dataclasses.replace(TINY, threshold=0.3)
    assert LteEditor(tiny_llama(), given, trained).threshold == 0.3


def test_the_original_finds_facts_by_their_prompts_and_always_one(trained: Resources) -> None:
    original = LteEditor(tiny_llama(), dataclasses.replace(TINY, mode="original"), trained)
    assert original.threshold is None
    original.edit(REQUESTS[:2])
    prompts = [request.prompt for request in REQUESTS[:2]]
    assert torch.equal(original.memory.keys, original.vectors(prompts))
    assert original.retrieve(prompts).tolist() == [0, 1]
    assert original.retrieve(["unrelated"]).item() >= 0
    author = LteEditor(tiny_llama(), OPEN, trained)
    author.edit(REQUESTS[:1])
    fact = f"{REQUESTS[0].prompt} {REQUESTS[0].target}"
    assert torch.equal(author.memory.keys, author.vectors([fact]))
