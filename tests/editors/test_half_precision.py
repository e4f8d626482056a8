"""Editors on models of half precision: what they write is kept in float32, reset is exact."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from editors.base import Editor, Resources
from editors.ft import FtEditor, FtHparams
from editors.grace import GraceEditor, GraceHparams
from editors.parts.language_model import LanguageModel
from editors.rome import RomeEditor, RomeHparams
from tests.contract import leftovers, log_probability, weights
from tests.tiny import REQUESTS

FIRST, SECOND, *_ = REQUESTS


@pytest.fixture(params=[torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def lm(tiny_lm: LanguageModel, request: pytest.FixtureRequest) -> LanguageModel:
    return LanguageModel(tiny_lm.model.to(request.param), tiny_lm.tokenizer)


def made(key: str, lm: LanguageModel) -> Editor[Any]:
    editors: dict[str, Editor[Any]] = {
        "ft": FtEditor(lm, FtHparams(layer=1, lr=1e-2, num_steps=4), Resources()),
        "rome": RomeEditor(
            lm, RomeHparams(layer=1, mode="easyedit", v_num_grad_steps=4), Resources()
        ),
        "grace": GraceEditor(lm, GraceHparams(layer=1, n_iter=4), Resources()),
    }
    return editors[key]


@pytest.mark.parametrize("key", ["ft", "rome", "grace"])
def test_edits_are_made_continued_and_undone(lm: LanguageModel, key: str) -> None:
    editor, before = made(key, lm), weights(lm.model)
    unedited = log_probability(editor, FIRST)
    editor.edit([FIRST])
    state, answer = editor.state_dict(), log_probability(editor, FIRST)
    assert answer != unedited
    editor.edit([SECOND])
    editor.reset()
    assert all(torch.equal(value, before[name]) for name, value in weights(lm.model).items())
    assert log_probability(editor, FIRST) == unedited
    editor.load_state_dict(state)
    assert log_probability(editor, FIRST) == answer
    assert leftovers(lm.model) == []


def test_steps_that_half_precision_would_lose_are_kept(tiny_lm: LanguageModel) -> None:
    lm = LanguageModel(tiny_lm.model.bfloat16(), tiny_lm.tokenizer)
    # Each step is a tenth of what bfloat16 can tell from most of these weights.
    editor = FtEditor(lm, FtHparams(layer=1, lr=1e-4, num_steps=10), Resources())
    name = f"{lm.architecture.mlp_out.format(1)}.weight"
    before = lm.model.get_parameter(name).detach().float().clone()
    editor.edit([FIRST])
    moved = (editor.state_dict()[name] - before).abs()
    trained = moved[moved > 0]
    assert len(trained) > moved.numel() / 2
    # Adam moves a weight by about its rate at each of ten steps.
    assert 2e-4 < float(trained.median()) < 2e-3
