from __future__ import annotations

import math

import torch

from bench.checks.contract.tiny import REQUESTS, tiny_gptj, tiny_llama
from editors.base import EditRequest, Resources
from editors.ft import FtEditor, FtHparams, Lesson
from editors.parts.language_model import LanguageModel, parameter_names
from editors.parts.tokens import batch_of


def editor_of(lm: LanguageModel, **values: object) -> FtEditor:
    return FtEditor(lm, FtHparams.from_dict({"layer": 1} | values), Resources())


def parameters(editor: FtEditor) -> tuple[str, ...]:
    """Names of what is trained."""
    lm = editor.lm
    return parameter_names(lm, lm.architecture.mlp_out.format(editor.layer))


@torch.no_grad()
def test_prompt_last_teaches_every_target_token_after_the_prompt() -> None:
    lm = tiny_llama()
    batch = batch_of(lm.tokenizer, [("Ada is", "in"), ("So he is", "off")], device=lm.device)
    logits = lm.logits(batch).log_softmax(-1)
    (a, b), (n, m) = batch.target_ids, batch.prompt_lengths
    last = -logits[0, n - 1, list(a)].mean() / 2 - logits[1, m - 1, list(b)].mean() / 2
    torch.testing.assert_close(
        Lesson.of(batch, "prompt_last").loss(lm, lm.hidden_states(batch)), last
    )
    rows = [(0, n, a), (1, m, b)]
    new = sum(-logits[i, k - 1 + j, t] / len(y) for i, k, y in rows for j, t in enumerate(y)) / 2
    torch.testing.assert_close(
        Lesson.of(batch, "target_new").loss(lm, lm.hidden_states(batch)), new
    )


def test_bos_becomes_a_label_only_in_its_mode_and_only_where_there_is_one() -> None:
    request = REQUESTS[0]
    for lm, leading in ((tiny_llama(), (1,)), (tiny_gptj(), ())):
        plain = editor_of(lm)._batch([request]).target_ids[0]
        quirk = editor_of(lm, objective="bos_label")._batch([request]).target_ids[0]
        assert quirk == leading + plain


def test_trained_are_the_projections_weight_and_its_bias(tiny_lm: LanguageModel) -> None:
    names = parameters(editor_of(tiny_lm))
    expected = [f"{tiny_lm.architecture.mlp_out.format(1)}.weight"]
    if tiny_lm.architecture.layout == "conv1d" or "fc_out" in expected[0]:
        expected.append(expected[0].replace("weight", "bias"))
    assert names == tuple(expected)


def test_the_constraint_holds_in_each_call_and_is_centred_again(tiny_lm: LanguageModel) -> None:
    editor = editor_of(tiny_lm, norm_constraint=1e-3, lr=1e-2, num_steps=3)
    weight = tiny_lm.model.get_parameter(parameters(editor)[0])
    before = weight.detach().clone()
    editor.edit(REQUESTS[:1])
    once = (weight - before).abs().max()
    assert math.isclose(float(once), 1e-3, rel_tol=1e-3)
    editor.edit(REQUESTS[:1])
    assert 1.5e-3 < (weight - before).abs().max() <= 2.001e-3


def test_an_edit_ends_once_the_loss_is_small() -> None:
    lm = tiny_llama()
    lm.model.get_parameter("lm_head.weight").data.mul_(10)  # sure enough for a small loss
    editor = editor_of(lm, num_steps=200, lr=5e-2, objective="target_new")
    request = EditRequest(prompt="Ada is", target="a", subject="Ada")
    tuned = editor.edit_lessons(list(editor._lessons([request])))
    assert len(tuned.losses) < 200
    assert tuned.losses[-1] < 1e-2 <= tuned.losses[-2]


def test_requests_of_one_call_are_taught_together_in_batches() -> None:
    editor = editor_of(tiny_llama(), batch_size=3)
    assert [len(lesson.batch) for lesson in editor._lessons(REQUESTS)] == [3, 1]
