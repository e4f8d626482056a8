from __future__ import annotations

import math

from bench.checks.contract.tiny import REQUESTS, tiny_llama
from editors.base import EditRequest, Resources
from editors.ft import FtEditor, FtHparams
from editors.parts.language_model import LanguageModel, parameter_names


def editor_of(lm: LanguageModel, **values: object) -> FtEditor:
    return FtEditor(lm, FtHparams.from_dict({"layer": 1} | values), Resources())


def parameters(editor: FtEditor) -> tuple[str, ...]:
    """Names of what is trained."""
    lm = editor.lm
    return parameter_names(lm, lm.architecture.mlp_out.format(editor.layer))


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
