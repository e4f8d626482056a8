from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.checks.contract.tiny import INNER, REQUESTS, TEMPLATES, leftovers, tiny_llama, weights
from editors.base import EditRequest, Resources
from editors.parts.covariance import InverseCovariance
from editors.parts.deltas import EditedWeights
from editors.parts.hooks import captured_output
from editors.parts.language_model import LanguageModel
from editors.parts.target_value import TargetRows
from editors.rome import RankOneUpdate, RomeEditor, RomeHparams, RomeMode

HPARAMS = RomeHparams(layer=1, v_num_grad_steps=3)


def editor_of(**changes: Any) -> RomeEditor:
    resources = Resources(covariance=lambda _: torch.eye(INNER), templates=("{}", "So. {}"))
    return RomeEditor(tiny_llama(), dataclasses.replace(HPARAMS, **changes), resources)


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


INVERSE = torch.eye(INNER) + 0.1
REQUEST = REQUESTS[1]


def update_of(lm: LanguageModel, mode: RomeMode = "original") -> RankOneUpdate:
    hparams = RomeHparams(
        layer=1, mode=mode, v_num_grad_steps=5, v_lr=0.3, v_weight_decay=0.1, kl_factor=0.1
    )
    resources = Resources(covariance=lambda _: INVERSE.inverse(), templates=TEMPLATES)
    return RomeEditor(lm, hparams, resources).compute([REQUEST])[0]


@torch.no_grad()
def output_at_subject(lm: LanguageModel) -> Tensor:
    """MLP output at the subject's last token of the bare prompt."""
    rows = TargetRows.of(lm, [REQUEST], ("{}",))
    with captured_output(lm.module(lm.architecture.mlp, 1)) as given:
        lm.hidden_states(rows.batch)
    return given.value[0, rows.lookups[0]]


@pytest.mark.parametrize("mode", ["original", "rebuilt_prompt"])
def test_the_layer_then_answers_the_optimised_value(tiny_lm: LanguageModel, mode: RomeMode) -> None:
    before = weights(tiny_lm.model)
    update = update_of(tiny_lm, mode)
    assert all(torch.equal(after, before[n]) for n, after in weights(tiny_lm.model).items())
    assert leftovers(tiny_lm.model) == []
    torch.testing.assert_close(update.target.outputs[0], output_at_subject(tiny_lm))
    EditedWeights(tiny_lm.model).add([update.delta(tiny_lm)])
    after = output_at_subject(tiny_lm)
    torch.testing.assert_close(after, update.target.value, atol=1e-4, rtol=1e-4)


def test_the_inverse_is_computed_once_in_float64_and_stored_in_float32() -> None:
    calls = []
    matrix = torch.tensor([[4.0, 1.0], [1.0, 3.0]])

    def covariance(layer: int) -> torch.Tensor:
        calls.append(layer)
        return matrix

    inverse = InverseCovariance(covariance)
    expected = torch.tensor([[3.0, -1.0], [-1.0, 4.0]], dtype=torch.float64) / 11
    for _ in range(2):
        actual = inverse(7, torch.zeros(1, dtype=torch.float64))
        assert actual.dtype == torch.float32
        assert torch.equal(actual, expected.float())
    assert calls == [7]


def test_a_singular_covariance_is_refused() -> None:
    inverse = InverseCovariance(lambda _: torch.ones(2, 2))
    with pytest.raises(
        ValueError, match=r"layer 3 cannot be inverted: .*; compute it over more text"
    ):
        inverse(3, torch.zeros(1))
