from __future__ import annotations

import dataclasses
from typing import Any

import torch

from bench.checks.contract.tiny import REQUESTS, TEMPLATES, tiny_gpt2, tiny_llama
from editors.parts.language_model import LanguageModel
from editors.parts.target_value import (
    Steered,
    TargetRows,
    TargetValue,
    ValueHparams,
    generate_templates,
    optimise_targets,
    unedited_pass,
)
from editors.parts.tokens import prompt_ids

REQUEST = REQUESTS[0]
HPARAMS = ValueHparams(
    v_num_grad_steps=4, v_lr=0.1, v_weight_decay=0.0, clamp_norm_factor=50.0, kl_factor=0.0
)


def solved(lm: LanguageModel, steered: Steered = "mlp", **changes: Any) -> TargetValue:
    rows = TargetRows.of(lm, [REQUEST], TEMPLATES)
    hparams = dataclasses.replace(HPARAMS, **changes)
    unedited = unedited_pass(lm, rows, [1], steered)
    return optimise_targets(lm, rows, hparams, layer=1, unedited=unedited)[0]


def test_delta_is_clamped_after_the_step() -> None:
    actual = solved(tiny_llama(), v_lr=5.0, clamp_norm_factor=2.0)
    limit = 2.0 * actual.outputs[0].norm()
    torch.testing.assert_close(actual.delta.norm(), limit)
    last = actual.steps[-1].unclamped
    assert last.norm() > limit
    torch.testing.assert_close(actual.delta, last * (limit / last.norm()))


def test_it_optimises_also_where_gradients_are_switched_off() -> None:
    with torch.no_grad():
        assert torch.equal(solved(tiny_llama()).delta, solved(tiny_llama()).delta)
        assert solved(tiny_llama()).delta.norm() > 0


def test_templates_are_the_bare_one_and_a_prefix_for_each_length(tiny_lm: LanguageModel) -> None:
    before = torch.get_rng_state()
    templates = generate_templates(tiny_lm, (6, 6, 9))
    assert torch.equal(torch.get_rng_state(), before)
    assert templates[0] == "{}"
    assert len(templates) == 4
    for template in templates[1:]:
        assert template.endswith(". {}")
        assert template.count("{") == template.count("}") == 1
        assert template.format("prompt").endswith(". prompt")
    assert generate_templates(tiny_lm, (6, 6, 9)) == templates
    assert generate_templates(tiny_lm, (6, 6, 9), seed=1) != templates


def test_prefixes_start_with_the_usual_words_in_turn() -> None:
    templates = generate_templates(tiny_gpt2(), (4,) * 6)[1:]
    starts = ("The", "Therefore"[:4], "Because"[:4], "I", "You", "The")
    assert [t.startswith(s) for t, s in zip(templates, starts, strict=True)] == [True] * 6


def test_a_length_counts_every_token_of_the_prefix() -> None:
    lm = tiny_gpt2()
    (template,) = generate_templates(lm, (3,))[1:]  # "The" is three bytes here: nothing is added
    assert prompt_ids(lm.tokenizer, "The") == prompt_ids(lm.tokenizer, template[:3])
    assert template == "The. {}"
