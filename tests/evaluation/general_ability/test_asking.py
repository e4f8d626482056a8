"""Edits, then every question, then a reset; how it is asked, and what a checkpoint stores."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.checks.contract.tiny import CONTEXT, SAMPLES
from bench.core.numerics import draw
from bench.core.progress import StopFlag, StoppedEarly
from bench.evaluation.checkpointing import Checkpointer
from bench.evaluation.general_ability.asking import (
    HEADROOM,
    ask,
    check_answers,
    choices,
    context_of,
    fitted,
)
from bench.evaluation.general_ability.running import (
    AbilityRun,
    as_released,
    run_edited,
    run_unedited,
)
from bench.evaluation.general_ability.scoring import AbilityRow, summarise
from bench.evaluation.general_ability.sets import AbilityItem, LoadedSet, load_sets
from bench.evaluation.inference import unsteered
from bench.evaluation.metrics import MAX_ANSWER_TOKENS
from bench.evaluation.record_kinds import AbilityCell
from bench.tables.table import remark
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch, prompt_ids, target_ids
from tests.evaluation.general_ability.tiny_items import choice, mmlu_row, reading, write_sets
from tests.evaluation.test_record_kinds import CELL, STREAM, UNEDITED
from tests.support.fake_editors import Broken, DoNothing, Shift
from tests.support.stopping_checkpointer import StoppingCheckpointer, checkpoint_file

Sets = dict[str, LoadedSet]


@pytest.fixture
def sets(tmp_path: Path) -> Sets:
    """Without ANLI, whose labels begin with one token in the tiny vocabulary."""
    source = write_sets(tmp_path, mmlu=[mmlu_row(question=f"{n}?") for n in range(9)])
    return {key: loaded for key, loaded in load_sets(source).items() if key != "anli"}


def run(
    editor: DoNothing,
    sets: Sets,
    n_edits: int,
    *,
    seed: int = 0,
    task_limit: int | None = None,
    **how: Any,
) -> AbilityRun:
    edits = dataclasses.replace(STREAM, n_edits=n_edits, seed=seed)
    cell = dataclasses.replace(CELL, edits=edits, task_limit=task_limit)
    return run_edited(cell, editor, SAMPLES, sets, **how)


def unedited(lm: LanguageModel, sets: Sets) -> list[AbilityRow]:
    return run_unedited(UNEDITED, lm, sets).rows


@pytest.mark.parametrize(("limit", "questions"), [(None, (1, 9, 2)), (4, (1, 4, 2))])
def test_the_first_of_the_draw_are_edited_then_asked_then_reset(
    limit: int | None, questions: tuple[int, ...], lm: LanguageModel, sets: Sets
) -> None:
    editor = DoNothing(lm)
    ran = run(editor, sets, 3, seed=4, task_limit=limit)
    edits = [f"edit {sample.request.subject}" for sample in draw(SAMPLES, seed=4, limit=3)]
    assert editor.log[:4] == ["reset", *edits]
    assert editor.log[-1] == "reset"
    assert set(editor.log[4:-1]) == {"probe"}
    asked = [row["task"] for row in ran.rows]
    assert asked == [key for key, n in zip(sets, questions, strict=True) for _ in range(n)]
    indices = [(row["task"], row["index"]) for row in ran.rows]
    assert sorted(set(indices)) == indices
    assert set(ran.seconds) == {"edit", "ask"}


@pytest.mark.parametrize(("editor", "words"), [(DoNothing, "no effect"), (Shift, None)])
def test_an_edit_shows_and_is_undone(
    editor: type[DoNothing], words: str | None, lm: LanguageModel, sets: Sets
) -> None:
    before = unedited(lm, sets)
    ran = run(editor(lm), sets, 2)
    assert (ran.rows == before) is (editor is DoNothing)
    assert remark(ran.health) == words
    assert unedited(lm, sets) == before


def released(n_edits: int) -> AbilityCell:
    edits = dataclasses.replace(STREAM, n_edits=n_edits)
    return dataclasses.replace(CELL, edits=edits, task_limit=None, scoring="released")


def test_as_released_every_block_of_edits_is_asked(lm: LanguageModel, sets: Sets) -> None:
    editor, n_edits = Shift(lm), 2
    ran = run_edited(released(n_edits), editor, SAMPLES, sets)
    count = len(SAMPLES) // n_edits
    assert count > 1
    edits = [f"edit {s.request.subject}" for s in draw(SAMPLES, seed=0, limit=count * n_edits)]
    assert [line for line in editor.log if line.startswith("edit")] == edits
    assert [block["block"] for block in ran.health] == list(range(count))
    asked = {(row["block"], row["task"], row["index"]) for row in ran.rows}
    assert len(asked) == len(ran.rows) == count * 12
    by_block = [[r for r in ran.rows if r["block"] == number] for number in range(count)]
    means = [summarise(rows)["average"] for rows in by_block]
    whole = summarise(ran.rows)
    assert whole["average"] == pytest.approx(sum(means) / count)
    assert whole["tasks"]["mmlu"]["questions"] == 9


def test_a_stopped_block_continues_after_those_that_are_done(
    lm: LanguageModel, sets: Sets, tmp_path: Path
) -> None:
    cell, file = released(2), checkpoint_file(tmp_path)
    whole = run_edited(cell, Shift(lm), SAMPLES, sets)
    with pytest.raises(StoppedEarly):
        run_edited(cell, Shift(lm), SAMPLES, sets, checkpointer=StoppingCheckpointer(file, after=3))
    editor = Shift(lm)
    again = run_edited(cell, editor, SAMPLES, sets, checkpointer=Checkpointer(file))
    assert (again.rows, again.health) == (whole.rows, whole.health)
    assert again.reliability == whole.reliability
    made = [line for line in editor.log if line.startswith("edit")]
    assert len(made) == len(SAMPLES) // 2 * 2 - 3


def test_as_released_the_space_ends_the_prompt_and_options_are_bare(tmp_path: Path) -> None:
    (item,) = load_sets(write_sets(tmp_path))["anli"].items
    assert item.prompt.endswith("contradiction:")
    assert item.options[0] == " entailment"
    asked = as_released(item)
    assert asked.prompt.endswith("contradiction: ")
    assert asked.options == ("entailment", "neutral", "contradiction")
    letters = choice("Answer: (", "A", "B")
    assert as_released(letters) == letters


def test_an_editor_that_fails_is_reset(lm: LanguageModel, sets: Sets) -> None:
    editor = Broken(lm)
    with pytest.raises(RuntimeError, match="second edit"):
        run(editor, sets, 2)
    assert editor.log[-1] == "reset"


def test_questions_that_cannot_be_scored_are_refused_before_an_edit(
    lm: LanguageModel, tmp_path: Path
) -> None:
    editor = DoNothing(lm)
    begin_alike = r"begins several of the options .*entailment.* --scoring lm-eval"
    with pytest.raises(ValueError, match=begin_alike):
        run(editor, load_sets(write_sets(tmp_path)), 1)
    assert editor.log == []


@pytest.mark.parametrize(("text", "tokens"), [("a" * 2000, 2001), (" ", 0)])
def test_answers_without_tokens_or_without_room_are_refused(
    lm: LanguageModel, text: str, tokens: int
) -> None:
    item = AbilityItem(group="", prompt="Why?", golds=(text,), document={})
    with pytest.raises(ValueError, match=rf"SQUAD-2, question 7: .*, got {tokens} of "):
        check_answers(lm, {"squad2": [(7, item)]})


def test_an_unedited_model_without_numbers_is_named(lm: LanguageModel, sets: Sets) -> None:
    with torch.no_grad():
        lm.model.get_parameter("model.norm.weight").fill_(math.nan)
    with pytest.raises(ValueError, match=r"answers 3 of 3 questions .* model.norm.weight of its"):
        run_unedited(UNEDITED, lm, sets)
    with pytest.raises(ValueError, match=r"answers 2 of 2 questions .* model.norm.weight of its"):
        run(DoNothing(lm), sets, 2)


def test_more_edits_than_samples_are_refused(lm: LanguageModel, sets: Sets) -> None:
    with pytest.raises(ValueError, match="got 4 samples"):
        run(DoNothing(lm), sets, 5)


def test_a_stopped_stream_stores_its_edits_and_is_continued(
    lm: LanguageModel, sets: Sets, tmp_path: Path
) -> None:
    whole, file = run(Shift(lm), sets, 3), checkpoint_file(tmp_path)
    with pytest.raises(StoppedEarly):
        run(Shift(lm), sets, 3, checkpointer=StoppingCheckpointer(file, 2))
    editor = Shift(lm)
    again = run(editor, sets, 3, checkpointer=Checkpointer(file))
    assert sum(word.startswith("edit") for word in editor.log) == 1
    assert dataclasses.replace(again, seconds={}) == dataclasses.replace(whole, seconds={})


def test_asking_is_stopped_before_a_batch_and_the_edits_are_stored(
    lm: LanguageModel, sets: Sets, tmp_path: Path
) -> None:
    class Asked(Shift):
        @contextmanager
        def steering(self, batch: TokenBatch) -> Iterator[None]:
            stop.request_stop()
            with super().steering(batch):
                yield

    stop, file = StopFlag(), checkpoint_file(tmp_path)
    editor = Asked(lm)
    with pytest.raises(StoppedEarly):
        run(editor, sets, 2, checkpointer=Checkpointer(file, stop=stop))
    assert len(editor.batches) == 1
    checkpoint = file.read()
    assert checkpoint is not None
    assert len(checkpoint.progress["made"]) == 2
    with pytest.raises(StoppedEarly):
        run_unedited(UNEDITED, lm, sets, checkpointer=Checkpointer(stop=stop))


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


def test_a_question_without_an_answer_is_scored_by_saying_so(lm: LanguageModel) -> None:
    rows = [ask(lm, "squad2", [(0, reading("Why? Answer:", *golds))], unsteered)[0]
            for golds in ((), ("N/A",))]  # fmt: skip
    assert rows[0]["score"] == rows[1]["score"]


def test_editors_get_lengths_and_the_text_to_retrieve_by(lm: LanguageModel) -> None:
    editor = DoNothing(lm)
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


def test_a_model_whose_outputs_are_nan_scores_nothing(lm: LanguageModel) -> None:
    norm = lm.module(lm.architecture.final_norm).weight
    assert isinstance(norm, nn.Parameter)
    with torch.no_grad():
        norm.fill_(math.nan)
    rows = ask(lm, "csqa", [(0, ITEMS[0])], unsteered)
    rows += ask(lm, "squad2", [(0, reading("Why? Answer:"))], unsteered)
    assert [(row["prediction"], row["score"]) for row in rows] == [(None, 0.0)] * 2
    assert (rows[1]["f1"], rows[1]["exact"]) == (0.0, 0.0)
    assert summarise(rows)["unanswered"] == 2


def test_a_prompt_longer_than_the_context_is_truncated_on_the_left(lm: LanguageModel) -> None:
    item = choice("first " * 40 + "last (", "A", "B")
    short = fitted(lm, item)
    assert item.prompt.endswith(short.prompt)
    assert len(prompt_ids(lm.tokenizer, short.prompt)) == CONTEXT - HEADROOM - MAX_ANSWER_TOKENS
    assert context_of(lm) == CONTEXT - HEADROOM
    assert fitted(lm, ITEMS[0]) is ITEMS[0]
    for character in ("\u00e9", "\u4e2da", "\u4e2d", "\U0001f600", "\u0928\u093f"):
        long = dataclasses.replace(
            item, prompt=f"x{character * 300}"
        )  # tokens end inside of characters
        short = fitted(lm, long)
        assert long.prompt.endswith(short.prompt)
        left = CONTEXT - HEADROOM - MAX_ANSWER_TOKENS - len(prompt_ids(lm.tokenizer, short.prompt))
        assert 0 <= left < 2 * len(character.encode())
    lm.model.config.max_position_embeddings = HEADROOM
    with pytest.raises(ValueError, match="needs a context of more than"):
        fitted(lm, item)
