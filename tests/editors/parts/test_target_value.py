from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch.nn import functional

from bench.checks.contract.tiny import (
    REQUESTS,
    TEMPLATES,
    leftovers,
    tiny_gpt2,
    tiny_llama,
    weights,
)
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
from editors.parts.tokens import prompt_ids, target_ids

REQUEST = REQUESTS[0]


HPARAMS = ValueHparams(
    v_num_grad_steps=4, v_lr=0.1, v_weight_decay=0.0, clamp_norm_factor=50.0, kl_factor=0.0
)


def solved(lm: LanguageModel, steered: Steered = "mlp", **changes: Any) -> TargetValue:
    rows = TargetRows.of(lm, [REQUEST], TEMPLATES)
    hparams = dataclasses.replace(HPARAMS, **changes)
    unedited = unedited_pass(lm, rows, [1], steered)
    return optimise_targets(lm, rows, hparams, layer=1, unedited=unedited)[0]


def test_rows_are_templates_with_prompt_and_target_then_the_essence(tiny_lm: LanguageModel) -> None:
    built = TargetRows.of(tiny_lm, [REQUEST], TEMPLATES)
    tokenizer, target = tiny_lm.tokenizer, target_ids(tiny_lm.tokenizer, REQUEST.target)
    rows = [
        built.batch.input_ids[row, :length].tolist()
        for row, length in enumerate(built.batch.lengths)
    ]
    prompts = [template.format(REQUEST.prompt) for template in TEMPLATES]
    assert rows[:-1] == [prompt_ids(tokenizer, prompt) + target[:-1] for prompt in prompts]
    assert rows[-1] == prompt_ids(tokenizer, f"{REQUEST.subject} is a")
    for text, row, index in zip([*prompts, REQUEST.subject], rows, built.lookups, strict=True):
        read = str(tokenizer.decode(row[: int(index) + 1], skip_special_tokens=True))
        assert read.endswith(REQUEST.subject)
        assert text.startswith(read)


def test_n_steps_are_n_minus_one_updates(tiny_lm: LanguageModel) -> None:
    before = weights(tiny_lm.model)
    actual = solved(tiny_lm)
    assert len(actual.steps) == 3
    assert actual.outputs.shape == (len(TEMPLATES), tiny_lm.hidden_size)
    assert torch.equal(actual.delta, actual.steps[-1].unclamped)
    assert all(torch.equal(after, before[n]) for n, after in weights(tiny_lm.model).items())
    assert leftovers(tiny_lm.model) == []


@torch.no_grad()
def test_the_first_loss_is_the_targets_mean_negative_log_likelihood() -> None:
    lm = tiny_llama()
    target = torch.tensor(target_ids(lm.tokenizer, REQUEST.target))
    losses = []
    for template in TEMPLATES:
        prompt = prompt_ids(lm.tokenizer, template.format(REQUEST.prompt))
        ids = torch.tensor([prompt + target.tolist()])
        logits = lm.model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
        losses.append(functional.cross_entropy(logits, target))
    assert solved(lm).steps[0].loss == pytest.approx(float(sum(losses)) / 3, rel=1e-6)


def test_decay_and_divergence_vanish_at_first_and_count_later() -> None:
    plain, both = solved(tiny_llama()), solved(tiny_llama(), v_weight_decay=0.5, kl_factor=0.5)
    assert both.steps[0].loss == plain.steps[0].loss
    assert torch.isfinite(both.steps[0].gradient).all()
    # After one step of Adam every entry of delta is the learning rate in size.
    norm, value = 0.1 * 4, both.outputs[0].norm()
    decayed = solved(tiny_llama(), v_weight_decay=0.5)
    expected = plain.steps[1].loss + 0.5 * norm / float(value) ** 2
    assert decayed.steps[1].loss == pytest.approx(expected, rel=1e-5)
    assert both.steps[1].loss > decayed.steps[1].loss


def test_delta_is_clamped_after_the_step() -> None:
    actual = solved(tiny_llama(), v_lr=5.0, clamp_norm_factor=2.0)
    limit = 2.0 * actual.outputs[0].norm()
    torch.testing.assert_close(actual.delta.norm(), limit)
    last = actual.steps[-1].unclamped
    assert last.norm() > limit
    torch.testing.assert_close(actual.delta, last * (limit / last.norm()))


def test_a_block_can_be_steered_instead_of_its_mlp(tiny_lm: LanguageModel) -> None:
    mlp, block = solved(tiny_lm), solved(tiny_lm, "block")
    assert block.steps[0].loss == pytest.approx(mlp.steps[0].loss, rel=1e-6)
    assert not torch.allclose(block.outputs, mlp.outputs)
    assert block.steps[-1].loss < block.steps[0].loss


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
