from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from bench.checks.contract.tiny import CONTEXT, tiny_llama
from bench.evaluation.general_ability.asking import HEADROOM, ask, choices, context_of, fitted
from bench.evaluation.general_ability.scoring import summarise
from bench.evaluation.inference import unsteered
from bench.evaluation.metrics import MAX_ANSWER_TOKENS
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import prompt_ids, target_ids
from tests.evaluation.general_ability.tiny_items import choice, reading
from tests.support.fake_editors import DoNothing

ITEMS = [choice("One (", "A", "B", "C"), choice("Two or three (", "B", "C", answer=1)]


@torch.no_grad()
def next_scores(lm: LanguageModel, ids: list[int]) -> Tensor:
    """Log-probabilities [V] of what follows ids, from the model itself."""
    scores: Tensor = lm.model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
    return scores


def test_the_largest_first_token_is_chosen(tiny_lm: LanguageModel) -> None:
    expected = []
    for item in ITEMS:
        scores = next_scores(tiny_lm, prompt_ids(tiny_lm.tokenizer, item.prompt))
        ids = [tiny_lm.tokenizer.convert_tokens_to_ids(option) for option in item.options]
        expected.append(int(scores[ids].argmax()))
    assert choices(tiny_lm, ITEMS, unsteered) == expected
    rows = ask(tiny_lm, "csqa", [(7, ITEMS[0]), (9, ITEMS[1])], unsteered)
    assert [row["prediction"] for row in rows] == expected
    assert [row["index"] for row in rows] == [7, 9]
    assert [row["score"] for row in rows] == [
        float(p == item.answer) for p, item in zip(expected, ITEMS, strict=True)
    ]


def test_the_score_of_an_answer_is_its_reciprocal_perplexity(tiny_lm: LanguageModel) -> None:
    item = reading("What is blue? Answer:", "the sea")
    (row,) = ask(tiny_lm, "squad2", [(0, item)], unsteered)
    ids, total = prompt_ids(tiny_lm.tokenizer, item.prompt), 0.0
    answer = target_ids(tiny_lm.tokenizer, "the sea")
    for token in answer:
        total += float(next_scores(tiny_lm, ids)[token])
        ids = [*ids, token]
    assert row["score"] == pytest.approx(math.exp(total / len(answer)), rel=1e-4)
    assert isinstance(row["prediction"], str)


def test_a_question_without_an_answer_is_scored_by_saying_so() -> None:
    lm = tiny_llama()
    rows = [ask(lm, "squad2", [(0, reading("Why? Answer:", *golds))], unsteered)[0]
            for golds in ((), ("N/A",))]  # fmt: skip
    assert rows[0]["score"] == rows[1]["score"]


def test_editors_get_lengths_and_the_text_to_retrieve_by() -> None:
    editor = DoNothing(tiny_llama())
    ask(editor.lm, "csqa", list(enumerate(ITEMS)), editor.steering)
    (batch,) = editor.batches
    assert sorted(batch.texts) == sorted(item.prompt for item in ITEMS)
    assert batch.lengths == batch.prompt_lengths
    tokenizer = editor.lm.tokenizer
    assert batch.lengths == tuple(len(prompt_ids(tokenizer, text)) for text in batch.texts)
    assert len(set(batch.lengths)) == 2
    editor.batches.clear()
    ask(editor.lm, "squad2", [(0, reading("Why? Answer:", "the sea"))], editor.steering)
    forced, decoded = editor.batches
    assert forced.texts == ("Why? Answer: the se",)  # the answer but its last token, "a"
    assert decoded.texts == ("Why? Answer:",)


def test_options_that_begin_alike_are_refused() -> None:
    lm = tiny_llama()
    item = choice("Is it", " entailment", " neutral")
    with pytest.raises(ValueError, match=r"begins several of the options .* --scoring lm-eval"):
        choices(lm, [item], unsteered)


def test_a_model_whose_outputs_are_nan_scores_nothing() -> None:
    lm = tiny_llama()
    norm = lm.module(lm.architecture.final_norm).weight
    assert isinstance(norm, nn.Parameter)
    with torch.no_grad():
        norm.fill_(math.nan)
    rows = ask(lm, "csqa", [(0, ITEMS[0])], unsteered)
    rows += ask(lm, "squad2", [(0, reading("Why? Answer:"))], unsteered)
    assert [(row["prediction"], row["score"]) for row in rows] == [(None, 0.0)] * 2
    assert (rows[1]["f1"], rows[1]["exact"]) == (0.0, 0.0)
    assert summarise(rows)["unanswered"] == 2


def test_a_prompt_longer_than_the_context_is_truncated_on_the_left() -> None:
    lm = tiny_llama()
    item = choice("first " * 40 + "last (", "A", "B")
    short = fitted(lm, item)
    assert item.prompt.endswith(short.prompt)
    assert len(prompt_ids(lm.tokenizer, short.prompt)) == CONTEXT - HEADROOM - MAX_ANSWER_TOKENS
    assert context_of(lm) == CONTEXT - HEADROOM
    assert fitted(lm, ITEMS[0]) is ITEMS[0]
    lm.model.config.max_position_embeddings = HEADROOM
    with pytest.raises(ValueError, match="needs a context of more than"):
        fitted(lm, item)
