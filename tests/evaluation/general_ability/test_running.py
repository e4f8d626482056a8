"""Edits, then every question, then a reset; what a checkpoint stores of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.checks.contract.tiny import SAMPLES, tiny_llama
from bench.core.numerics import draw
from bench.core.progress import StopFlag, StoppedEarly
from bench.evaluation.checkpointing import Checkpointer
from bench.evaluation.general_ability.loading import LoadedSet, load_sets
from bench.evaluation.general_ability.running import AbilityRun, run_edited, run_unedited
from bench.evaluation.general_ability.scoring import AbilityRow
from bench.tables.table import remark
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch
from tests.evaluation.general_ability.tiny_items import mmlu_row, write_sets
from tests.evaluation.test_record_kinds import CELL, STREAM, UNEDITED
from tests.support.fake_editors import Broken, DoNothing, Shift
from tests.support.stopping_checkpointer import StoppingCheckpointer, checkpoint_file

Sets = dict[str, LoadedSet]


@pytest.fixture
def sets(tmp_path: Path) -> Sets:
    """Without ANLI, whose labels begin with one token in the tiny vocabulary."""
    source = write_sets(tmp_path, mmlu=[mmlu_row(question=f"{n}?") for n in range(9)])
    return {key: loaded for key, loaded in load_sets(source).items() if key != "anli"}


@pytest.fixture
def lm() -> LanguageModel:
    return tiny_llama()


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


def test_the_first_of_the_draw_are_edited_then_asked_then_reset(
    lm: LanguageModel, sets: Sets
) -> None:
    editor = DoNothing(lm)
    ran = run(editor, sets, 3, seed=4)
    edits = [f"edit {sample.request.subject}" for sample in draw(SAMPLES, seed=4, limit=3)]
    assert editor.log[:4] == ["reset", *edits]
    assert editor.log[-1] == "reset"
    assert set(editor.log[4:-1]) == {"probe"}
    assert [(row["task"], row["index"]) for row in ran.rows] == [
        (key, index) for key, loaded in sets.items() for index in range(len(loaded.items))
    ]
    assert set(ran.seconds) == {"edit", "ask"}


def test_an_editor_that_does_nothing_answers_as_the_unedited_model_and_is_named(
    lm: LanguageModel, sets: Sets
) -> None:
    ran = run(DoNothing(lm), sets, 2)
    assert ran.rows == unedited(lm, sets)
    assert remark(ran.health) == "no effect"


def test_an_edit_shows_and_is_undone(lm: LanguageModel, sets: Sets) -> None:
    before = unedited(lm, sets)
    ran = run(Shift(lm), sets, 1)
    assert ran.rows != before
    assert remark(ran.health) is None
    assert unedited(lm, sets) == before


def test_a_limit_asks_fewer(lm: LanguageModel, sets: Sets) -> None:
    rows = run(DoNothing(lm), sets, 1, task_limit=4).rows
    counts = {key: sum(row["task"] == key for row in rows) for key in sets}
    assert counts == {"csqa": 1, "mmlu": 4, "squad2": 2}


def test_results_do_not_depend_on_the_batch(lm: LanguageModel, sets: Sets) -> None:
    small, large = (run(Shift(lm), sets, 1, batch_size=size).rows for size in (1, 64))
    for row, other in zip(small, large, strict=True):
        assert row == other | {"score": pytest.approx(other["score"], abs=1e-5)}


def test_an_editor_that_fails_is_reset(lm: LanguageModel, sets: Sets) -> None:
    editor = Broken(lm)
    with pytest.raises(RuntimeError, match="second edit"):
        run(editor, sets, 2)
    assert editor.log[-1] == "reset"


def test_questions_that_cannot_be_scored_are_refused_before_an_edit(
    lm: LanguageModel, tmp_path: Path
) -> None:
    editor = DoNothing(lm)
    with pytest.raises(ValueError, match="entailment"):
        run(editor, load_sets(write_sets(tmp_path)), 1)
    assert editor.log == []


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
