from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bench.checks.contract.tiny import INNER, REQUESTS, TEMPLATES, leftovers, weights
from editors.parts.deltas import EditedWeights
from editors.parts.hooks import captured_output
from editors.parts.language_model import LanguageModel
from editors.parts.rank_one import RankOneForm, RankOneUpdate, rank_one_updates
from editors.parts.value_optimisation import ValueSettings, value_problem

REQUEST = REQUESTS[1]
SETTINGS = ValueSettings(
    v_num_grad_steps=5, v_lr=0.3, v_weight_decay=0.1, clamp_norm_factor=4.0, kl_factor=0.1
)


def update_of(lm: LanguageModel, form: RankOneForm = "original") -> RankOneUpdate:
    inverse = torch.eye(INNER) + 0.1
    (update,) = rank_one_updates(
        lm,
        [REQUEST],
        TEMPLATES,
        layer=1,
        settings=SETTINGS,
        form=form,
        inverse_covariance=inverse,
    )
    return update


@torch.no_grad()
def output_at_subject(lm: LanguageModel) -> Tensor:
    """MLP output at the subject's last token of the bare prompt."""
    problem = value_problem(lm, [REQUEST], ("{}",))
    with captured_output(lm.module(lm.architecture.mlp, 1)) as given:
        lm.hidden_states(problem.batch)
    return given.value[0, problem.lookups[0]]


@pytest.mark.parametrize("form", ["original", "rebuilt_prompt"])
def test_the_layer_then_answers_the_optimised_value(
    tiny_lm: LanguageModel, form: RankOneForm
) -> None:
    before = weights(tiny_lm.model)
    update = update_of(tiny_lm, form)
    assert all(torch.equal(after, before[n]) for n, after in weights(tiny_lm.model).items())
    assert leftovers(tiny_lm.model) == []
    torch.testing.assert_close(update.solution.outputs[0], output_at_subject(tiny_lm))
    EditedWeights(tiny_lm.model).add([update.delta(tiny_lm)])
    expected = update.solution.outputs[0] + update.solution.delta
    torch.testing.assert_close(output_at_subject(tiny_lm), expected, atol=1e-4, rtol=1e-4)


def test_directions_come_from_the_keys_of_the_form(tiny_lm: LanguageModel) -> None:
    inverse = torch.eye(INNER) + 0.1
    original = update_of(tiny_lm)
    keys = original.keys
    assert keys.shape == (len(TEMPLATES), INNER)
    forms: dict[RankOneForm, Tensor] = {"original": keys.mean(0), "rebuilt_prompt": keys[0]}
    for form, key in forms.items():
        direction = inverse @ key
        torch.testing.assert_close(update_of(tiny_lm, form).right, direction / direction.norm())
    prefix = update_of(tiny_lm, "rebuilt_prefix")
    outputs = prefix.solution.outputs
    change = outputs[0] + prefix.solution.delta - outputs.mean(0)
    torch.testing.assert_close(prefix.left, change / (keys.mean(0) @ prefix.right))
