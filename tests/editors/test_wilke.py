from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from bench.checks.contract.tiny import INNER, REQUESTS, batch_for, tiny_gpt2
from editors.base import Resources
from editors.parts.deltas import EditedWeights
from editors.parts.generation import Stop, greedy
from editors.parts.tokens import target_ids, text_of
from editors.rome import RomeEditor, RomeHparams
from editors.wilke import WilkeEditor, WilkeHparams

HPARAMS = WilkeHparams(scanning_ceiling=3, v_num_grad_steps=3)
FIRST, SECOND = REQUESTS[:2]


def editor_of(**changes: Any) -> WilkeEditor:
    resources = Resources(covariance=lambda _: torch.eye(INNER), templates=("{}", "So. {}"))
    return WilkeEditor(tiny_gpt2(), dataclasses.replace(HPARAMS, **changes), resources)


def test_a_roll_back_edits_the_former_answer_into_the_same_layer_before_the_next_edit() -> None:
    rolled, plain = editor_of(mode="rollback"), editor_of()
    lm, scores = plain.lm, [candidate.score for candidate in plain.scan(FIRST)]
    length = len(target_ids(lm.tokenizer, FIRST.target))
    prompt = batch_for(lm, [(FIRST.prompt, "")])
    answer = text_of(lm.tokenizer, greedy(lm, prompt, max_new_tokens=length, stop=Stop())[0])
    assert answer.strip()
    for editor in (rolled, plain):
        editor.edit([FIRST])
    assert_same_weights(rolled, plain)
    rome = RomeEditor(
        lm, RomeHparams(layer=scores.index(min(scores)), v_num_grad_steps=3), plain.resources
    )
    (undone,) = rome.compute([dataclasses.replace(FIRST, target=answer.strip())])
    EditedWeights(lm.model).add([undone.delta(lm)])
    for editor in (rolled, plain):
        editor.edit([SECOND])
    assert_same_weights(rolled, plain)


def test_what_is_to_be_rolled_back_is_part_of_the_state() -> None:
    editor, other = editor_of(mode="rollback"), editor_of(mode="rollback")
    editor.edit([FIRST])
    other.load_state_dict(editor.state_dict())
    for each in (editor, other):
        each.edit([SECOND])
    states = editor.state_dict(), other.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    editor.reset()
    assert editor.state_dict() == {}


def assert_same_weights(mine: WilkeEditor, yours: WilkeEditor) -> None:
    pairs = zip(mine.lm.model.parameters(), yours.lm.model.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_a_candidate_without_a_number_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    editor = editor_of()
    broken, *others = editor.scan(REQUESTS[0])
    scanned = (dataclasses.replace(broken, score=float("nan")), *others)
    monkeypatch.setattr(editor, "scan", lambda _: scanned)
    layer: Any = editor.lm.module(editor.lm.architecture.mlp_out, broken.update.layer)
    untouched = layer.weight.clone()
    editor.edit(REQUESTS[:1])
    assert torch.equal(layer.weight, untouched)
