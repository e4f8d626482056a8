from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.checks.contract.tiny import REQUESTS, log_probability, logits, tiny_gpt2, tiny_llama
from editors.base import EditRequest, Resources
from editors.grace import GraceEditor, GraceHparams
from editors.parts.generation import Stop, greedy
from editors.parts.hooks import captured_output
from editors.parts.language_model import LanguageModel
from editors.parts.replacement import Replacement
from editors.parts.tokens import TokenBatch, batch_of, batch_of_ids

HPARAMS = GraceHparams(layer=1, n_iter=5, eps=0.5)
KINDS: tuple[Replacement, ...] = ("replace_last", "replace_all", "replace_prompt")
PAIRS = [(request.prompt, request.target) for request in REQUESTS[:3]]


def editor_of(lm: LanguageModel, **changes: Any) -> GraceEditor:
    return GraceEditor(lm, dataclasses.replace(HPARAMS, **changes), Resources(seed=4))


@torch.no_grad()
def outputs(editor: GraceEditor) -> tuple[Tensor, Tensor]:
    """The layer's outputs [3, T, d] for `PAIRS`: as edited, and of the plain model."""
    batch = batch_of(editor.lm.tokenizer, PAIRS, device=editor.lm.device)
    # The capture is entered inside the steering, so its hook sees the replaced output.
    with editor.steering(batch), captured_output(editor.module) as steered:
        editor.lm.hidden_states(batch)
    with captured_output(editor.module) as plain:
        editor.lm.hidden_states(batch)
    return steered.value, plain.value


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_edited_rows_change_and_only_where_the_kind_says(kind: Replacement) -> None:
    editor = editor_of(tiny_llama(), replacement=kind)
    editor.edit([REQUESTS[0], REQUESTS[2]])
    batch = batch_of(editor.lm.tokenizer, PAIRS, device=editor.lm.device)
    steered, plain = outputs(editor)
    assert torch.equal(steered[1], plain[1])
    for row, key in ((0, 0), (2, 1)):
        end = batch.prompt_lengths[row] - 1
        width = batch.input_ids.shape[1]
        places = {"replace_last": [end], "replace_all": range(width), "replace_prompt": range(end)}
        changed = (steered[row] != plain[row]).any(dim=-1).nonzero()[:, 0].tolist()
        assert changed == list(places[kind])
        assert all(torch.equal(steered[row, p], editor.codebook.values[key]) for p in changed)


@pytest.mark.parametrize("kind", KINDS)
def test_cached_decoding_is_teacher_forcing_for_every_kind(kind: Replacement) -> None:
    lm = tiny_gpt2()
    editor = editor_of(lm, replacement=kind)
    editor.edit(REQUESTS[:2])
    batch = batch_of(lm.tokenizer, [(prompt, "") for prompt, _ in PAIRS], device=lm.device)
    with editor.steering(batch):
        generated = greedy(lm, batch, max_new_tokens=4, stop=Stop())
    rows = [batch.input_ids[i, :n].tolist() for i, n in enumerate(batch.prompt_lengths)]
    forced = batch_of_ids(rows, generated, batch.texts, padding=0, device=lm.device)
    with torch.no_grad(), editor.steering(forced):
        best = lm.target_logits(forced).argmax(-1)
    assert best.tolist() == [token for ids in generated for token in ids]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_another_target_of_the_same_prompt_takes_the_key_over_whatever_its_length(
    tiny_lm: LanguageModel, dtype: torch.dtype
) -> None:
    model: Any = tiny_lm.model
    editor = editor_of(LanguageModel(model.to(dtype), tiny_lm.tokenizer), n_iter=1)
    targets = ["b", "cde", "fghijklmnopqrstuvw", "xy", "z" * 40]
    for prompt in ("The long way to Arl is", "Bem", "a" * 31):
        editor.reset()
        events = [editor.edit_row(row(editor.lm, prompt, target)).event for target in targets]
        assert events == ["init", *["rewrite"] * 4]
        assert len(editor.codebook) == 1


def row(lm: LanguageModel, prompt: str, target: str) -> TokenBatch:
    return batch_of(lm.tokenizer, [(prompt, target)], device=lm.device)


@pytest.mark.parametrize("projection", ["mlp_in", "mlp_out"])
def test_either_projection_of_any_architecture_can_be_wrapped(
    tiny_lm: LanguageModel, projection: str
) -> None:
    editor = editor_of(tiny_lm, projection=projection)
    before = log_probability(editor, REQUESTS[0])
    editor.edit(REQUESTS[:1])
    assert log_probability(editor, REQUESTS[0]) > before


def test_a_second_target_for_one_prompt_wins() -> None:
    editor = editor_of(tiny_llama(), n_iter=20)
    old = REQUESTS[0]
    new = EditRequest(prompt=old.prompt, target="Zug", subject=old.subject)
    editor.edit([old])
    before = log_probability(editor, new)
    editor.edit([new])
    assert len(editor.codebook) == 1
    assert log_probability(editor, new) > before


def test_warm_values_start_at_the_layers_own_output_and_draw_nothing() -> None:
    editor = editor_of(tiny_llama(), val_init="warm", edit_lr=1e-9)
    before, draws = logits(editor, PAIRS), editor.state_dict()["generator"]
    editor.edit(REQUESTS[:1])
    torch.testing.assert_close(logits(editor, PAIRS), before, atol=1e-4, rtol=1e-4)
    assert torch.equal(editor.state_dict()["generator"], draws)


def test_cold_values_are_uniform_and_drawn_for_new_keys_only() -> None:
    editor = editor_of(tiny_llama(), edit_lr=1e-9)
    editor.edit(REQUESTS[:1])
    generator = torch.Generator().manual_seed(4)
    expected = torch.rand(editor.lm.hidden_size, generator=generator)
    torch.testing.assert_close(editor.codebook.values[0], expected)
    draws = editor.state_dict()["generator"]
    assert torch.equal(draws, generator.get_state())
    editor.edit(REQUESTS[:1])  # reuses its key
    assert torch.equal(editor.state_dict()["generator"], draws)


def test_the_sticky_position_is_easyedits_alone() -> None:
    short = EditRequest(prompt="Ada is", target="in", subject="Ada")
    found = []
    for mode in ("default", "easyedit"):
        editor = editor_of(tiny_llama(), mode=mode)
        editor.edit([REQUESTS[0], short])
        found.append(log_probability(editor, REQUESTS[0]))
        editor.reset()
        editor.edit([REQUESTS[0]])
        found.append(log_probability(editor, REQUESTS[0]))
    assert found[0] == found[1] == found[3]
    assert found[2] < found[3]  # the edit is asked for where the last edited prompt ended


def test_the_weights_never_change() -> None:
    editor = editor_of(tiny_llama())
    before = {n: p.detach().clone() for n, p in editor.lm.model.named_parameters()}
    editor.edit(REQUESTS)
    assert all(torch.equal(p, before[n]) for n, p in editor.lm.model.named_parameters())


@pytest.mark.parametrize(
    ("field", "value"),
    [("replacement", "replace_lst"), ("eps", 0.0), ("eps_unit", "metres"), ("n_iter", 0)],
)
def test_impossible_settings_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"must be|eps_unit|Did you mean 'replace_last'"):
        editor_of(tiny_llama(), **{field: value})


def test_a_radius_in_units_of_the_key_fits_activations_of_any_size() -> None:
    hparams = dataclasses.replace(HPARAMS, eps_unit="key_norm")
    editor = GraceEditor(tiny_llama(), hparams, Resources())
    editor.edit(REQUESTS[:1])
    book = editor.codebook
    torch.testing.assert_close(book.radii, 0.5 * book.keys.norm(dim=1))
