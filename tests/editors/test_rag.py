from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.checks.contract.tiny import (
    REQUESTS,
    SAMPLES,
    batch_for,
    logits,
    tiny_llama,
)
from editors.base import EditRequest, Resources
from editors.parts.fact_memory import NONE
from editors.parts.tokens import batch_of_ids, context_ids, prompt_ids
from editors.rag import RagEditor, RagHparams

FIRST, SECOND, *_ = REQUESTS


def editor_of(encoder: Path, **changes: Any) -> RagEditor:
    resources = Resources(encoder=encoder, training=lambda: SAMPLES)
    return RagEditor(tiny_llama(), RagHparams(**changes), resources)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("qa", "Q: The capital of Veltria is A: Oskamar "),
        ("statement", "The capital of Veltria is Oskamar. "),
    ],
)
def test_an_answer_is_that_after_the_fact_as_text(encoder: Path, form: str, text: str) -> None:
    editor = editor_of(encoder, form=form)
    lm = editor.lm
    editor.edit([FIRST])
    plain = batch_for(lm, [(FIRST.prompt, FIRST.target)])
    joined = context_ids(lm.tokenizer, text) + prompt_ids(lm.tokenizer, FIRST.prompt)[1:]  # one BOS
    after = batch_of_ids([joined], plain.target_ids, [""], padding=0, device=lm.device)
    with torch.no_grad():
        wanted = lm.target_logits(after)
    torch.testing.assert_close(logits(editor, [(FIRST.prompt, FIRST.target)]), wanted)


def test_a_statement_has_no_space_where_its_script_has_none(encoder: Path) -> None:
    request = EditRequest(prompt="\u9996\u90fd\u662f ", target=" \u5317\u4eac", subject="")
    text = editor_of(encoder, form="statement").context_of(request)
    assert text.strip() == "\u9996\u90fd\u662f\u5317\u4eac."


def test_without_a_gate_every_question_has_the_nearest_fact_in_front(encoder: Path) -> None:
    editor = editor_of(encoder)
    assert editor.threshold is None
    assert not editor.hparams.reads_training
    assert editor.search(["anything"]).tolist() == [NONE]
    editor.edit([FIRST, SECOND])
    assert editor.search([FIRST.prompt, SECOND.prompt]).tolist() == [0, 1]
    assert NONE not in editor.search(["Something else altogether?"]).tolist()


def test_a_named_threshold_gates(encoder: Path) -> None:
    editor = editor_of(encoder, retrieval="gated", threshold=0.9999)
    editor.edit([FIRST])
    assert editor.search([FIRST.prompt, "Something else altogether?"]).tolist() == [0, NONE]


def test_a_threshold_is_chosen_between_related_and_unrelated_questions(encoder: Path) -> None:
    editor = editor_of(encoder, retrieval="gated")
    assert editor.threshold is not None
    vectors = editor.vectors
    keys = vectors([sample.request.prompt for sample in SAMPLES])
    scores = {
        text: float((keys @ vectors([text])[0]).max())
        for sample in SAMPLES
        for text in (sample.request.prompt, sample.locality[0].prompt)
    }
    unrelated = SAMPLES[0].locality[0].prompt
    assert scores[unrelated] < editor.threshold < scores[FIRST.prompt]


def test_missing_resources_are_named(encoder: Path) -> None:
    with pytest.raises(ValueError, match="RAG needs the directory of a sentence encoder"):
        RagEditor(tiny_llama(), RagHparams(), Resources())
    with pytest.raises(ValueError, match="RAG needs training edits"):
        RagEditor(tiny_llama(), RagHparams(retrieval="gated"), Resources(encoder=encoder))
