from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.checks.contract.tiny import (
    HIDDEN,
    INNER,
    REQUESTS,
    logits,
    tiny_llama,
    weights,
)
from editors.base import EditRequest, Resources
from editors.parts.encoder import TextVectors
from editors.parts.r_rome.retrieval import FactRetriever, Gate, RaseHparams, RaseNetwork
from editors.r_rome import RRomeEditor, RRomeHparams
from editors.rome import RomeEditor

FIRST, SECOND, THIRD = REQUESTS[:3]
UNRELATED = ("9 8 7 6 5", "4")
ALWAYS = Gate(maximum=-2.0)
HPARAMS = RRomeHparams(layer=1, v_num_grad_steps=4, v_weight_decay=0.0, heads="untrained")


def editor_of(vectors: TextVectors, gate: Gate = ALWAYS, **changes: Any) -> RRomeEditor:
    """R-ROME on the bare encoder, with the given gate."""
    network = RaseNetwork(HIDDEN, RaseHparams(heads="untrained"))
    for two_way in (False, True):
        network.set_gate(gate, two_way=two_way)
    resources = Resources(covariance=lambda _: torch.eye(INNER), templates=("{}", "So. {}"))
    hparams = replace(HPARAMS, **changes)
    retriever = FactRetriever(vectors, network)
    return RRomeEditor(tiny_llama(), hparams, resources, retriever=retriever)


def rome_after(request: EditRequest, prompt: str | None = None) -> RomeEditor:
    """ROME itself after one edit."""
    resources = Resources(covariance=lambda _: torch.eye(INNER), templates=("{}", "So. {}"))
    rome = RomeEditor(tiny_llama(), HPARAMS, resources)
    rome.edit([request if prompt is None else replace(request, prompt=prompt)])
    return rome


def pair(request: EditRequest) -> tuple[str, str]:
    return request.prompt, request.target


def test_each_row_is_answered_as_by_rome_after_its_own_edit_alone(vectors: TextVectors) -> None:
    editor = editor_of(vectors, Gate(maximum=0.999))
    before = weights(editor.lm.model)
    editor.edit([FIRST, SECOND])
    keys = editor.memory["key"]
    keys.copy_(vectors([FIRST.prompt, SECOND.prompt]))  # so that both prompts surely hit
    rows = [pair(SECOND), UNRELATED, pair(FIRST)]
    assert editor.retrieve([prompt for prompt, _ in rows]).tolist() == [1, -1, 0]
    actual = logits(editor, rows)
    expected = [
        logits(rome_after(SECOND), rows[:1]),
        logits(editor_of(vectors), rows[1:2]),
        logits(rome_after(FIRST), rows[2:]),
    ]
    torch.testing.assert_close(actual, torch.cat(expected), atol=1e-5, rtol=1e-5)
    assert all(torch.equal(value, before[n]) for n, value in weights(editor.lm.model).items())


def test_the_gate_sees_each_actual_input(vectors: TextVectors) -> None:
    editor = editor_of(vectors, Gate(maximum=0.999))
    editor.edit([FIRST])
    editor.memory["key"].copy_(vectors([FIRST.prompt]))
    rephrased = f"Some say that {FIRST.prompt}"
    assert editor.retrieve([FIRST.prompt, rephrased]).tolist() == [0, -1]


def test_the_gate_in_use_is_the_calibrated_or_the_published_one(vectors: TextVectors) -> None:
    calibrated = Gate(maximum=0.5, difference=0.25, spread=0.125)
    assert editor_of(vectors, calibrated).gate == calibrated
    published = RRomeEditor(
        tiny_llama(),
        replace(HPARAMS, gate="published", mode="easyedit"),
        Resources(),
        retriever=editor_of(vectors).retriever,
    )
    assert published.gate == Gate()


def test_two_way_looks_at_the_edited_prompts_too(vectors: TextVectors) -> None:
    one_way, two_way = editor_of(vectors), editor_of(vectors, two_way=True)
    for editor in (one_way, two_way):
        editor.edit([FIRST, SECOND])
        editor.memory["key"].copy_(vectors([SECOND.prompt, SECOND.prompt + "!"]))
        editor.memory["sentence"].copy_(vectors([FIRST.prompt, SECOND.prompt]))
    assert one_way.retrieve([SECOND.prompt]).tolist() == [0]
    assert two_way.retrieve([SECOND.prompt]).tolist() == [1]


def test_a_later_edit_of_a_fact_replaces_the_earlier_one(vectors: TextVectors) -> None:
    editor, other = editor_of(vectors), editor_of(vectors)
    corrected = replace(FIRST, target="Brenn")
    editor.edit([FIRST, corrected])
    other.edit([corrected])
    assert len(editor.memory) == 1
    torch.testing.assert_close(logits(editor, [pair(corrected)]), logits(other, [pair(corrected)]))


def test_plus_prompt_edits_and_answers_after_the_fact(vectors: TextVectors) -> None:
    editor = editor_of(vectors, plus_prompt=True)
    editor.edit([FIRST])
    fact = f"{FIRST.subject} || {FIRST.prompt}"
    rome = rome_after(FIRST, prompt=f"{fact} {FIRST.prompt}")
    # The query's own first token has no space in front: it joins the fact as it is.
    expected = logits(rome, [(fact + THIRD.prompt, THIRD.target)])
    torch.testing.assert_close(logits(editor, [pair(THIRD)]), expected, atol=1e-5, rtol=1e-5)


def test_resources_are_wanted(encoder: Path) -> None:
    covariance = Resources(covariance=lambda _: torch.eye(INNER))
    with pytest.raises(ValueError, match="R-ROME needs the directory of a sentence encoder"):
        RRomeEditor(tiny_llama(), HPARAMS, covariance)
    with pytest.raises(ValueError, match="R-ROME needs trained weights for this backbone"):
        RRomeEditor(tiny_llama(), HPARAMS, replace(covariance, encoder=encoder))
    with pytest.raises(ValueError, match="needs the covariance"):
        RRomeEditor(tiny_llama(), HPARAMS, Resources(encoder=encoder))
