from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from bench.checks.contract.tiny import INNER, REQUESTS, tiny_llama
from editors.base import EditRequest, Resources
from editors.rome import RomeEditor, RomeHparams

HPARAMS = RomeHparams(layer=1, v_num_grad_steps=3)


def editor_of(**changes: Any) -> RomeEditor:
    resources = Resources(covariance=lambda _: torch.eye(INNER), templates=("{}", "So. {}"))
    return RomeEditor(tiny_llama(), dataclasses.replace(HPARAMS, **changes), resources)


def test_covariance_is_wanted_unless_the_mode_does_without() -> None:
    with pytest.raises(ValueError, match=r"needs the covariance .* 'easyedit'"):
        RomeEditor(tiny_llama(), HPARAMS, Resources())
    RomeEditor(tiny_llama(), dataclasses.replace(HPARAMS, mode="easyedit"), Resources())


def test_needs_are_told_before_an_editor_exists() -> None:
    assert HPARAMS.uses_covariance
    assert HPARAMS.covariance_layers(4) == (1,)
    assert RomeHparams(layer=None).covariance_layers(32) == (5,)
    assert RomeHparams(layer=1, mode="easyedit").covariance_layers(4) == ()
    assert RomeEditor.presets["gpt-j-6b"].template_lengths == (5,) * 10 + (10,) * 10
    assert len(RomeEditor.presets["mini-llama"].template_lengths) == 5


def test_without_covariance_the_direction_is_that_of_an_identity() -> None:
    with_identity, without = editor_of(), editor_of(mode="easyedit")
    (one,), (other,) = with_identity.compute(REQUESTS[:1]), without.compute(REQUESTS[:1])
    torch.testing.assert_close(one.right, other.right)
    torch.testing.assert_close(one.left, other.left)


def test_one_matrix_is_written_by_a_rank_one_update() -> None:
    editor = editor_of()
    name = "model.layers.1.mlp.down_proj.weight"
    before = {n: p.detach().clone() for n, p in editor.lm.model.named_parameters()}
    editor.edit(REQUESTS[:1])
    changed = [n for n, p in editor.lm.model.named_parameters() if not torch.equal(p, before[n])]
    assert changed == [name]
    change = editor.lm.model.get_parameter(name) - before[name]
    singular = torch.linalg.svdvals(change)
    assert singular[1] < 1e-4 * singular[0]


def test_a_subject_that_is_not_in_the_prompt_is_edited_at_its_end() -> None:
    editor = editor_of()
    editor.edit([EditRequest(prompt="He lives in", target="Bern", subject="Ada")])
    assert editor.state_dict()


@pytest.mark.parametrize(
    ("field", "value"), [("mode", "easyedti"), ("v_num_grad_steps", 1), ("v_lr", 0.0)]
)
def test_impossible_settings_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"must be|Did you mean 'easyedit'"):
        editor_of(**{field: value})
