"""What is asked through each channel, and blocks that change nothing or blow up."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from bench.checks.contract.tiny import REQUESTS, SAMPLES, tiny_llama
from bench.evaluation.driver import CellRun, run_blocks
from bench.evaluation.metrics import ItemRow
from bench.tables.table import ROUNDING, remark
from editors.base import EditRequest
from editors.parts.fast_paths import FastPaths
from editors.parts.language_model import LanguageModel
from tests.core.test_cells import CELL
from tests.support.fake_editors import DoNothing, Reader, Shift


@pytest.fixture
def lm() -> LanguageModel:
    return tiny_llama()


def run(editor: DoNothing, n_edits: int = 4, *, batch_size: int = 64, **changes: Any) -> CellRun:
    values: dict[str, Any] = {"n_edits": n_edits, "limit": 4, "generation": "none"}
    cell = dataclasses.replace(CELL, **values | changes)
    return run_blocks(cell, editor, SAMPLES, batch_size=batch_size)


def items(ran: CellRun) -> list[ItemRow]:
    return [item for row in ran.rows for item in row["items"]]


@pytest.mark.parametrize("editor_class", [Shift, Reader])
def test_answers_do_not_depend_on_the_batch_size(editor_class: type[DoNothing]) -> None:
    small, middle, large = (
        items(run(editor_class(tiny_llama()), batch_size=size, generation="context_free"))
        for size in (1, 5, 64)
    )
    assert small == middle == large


def test_prompt_only_is_asked_only_where_the_retrieval_texts_differ(lm: LanguageModel) -> None:
    editor = Reader(lm)
    rows = items(run(editor))
    longer = [item for item in rows if len(item["target_ids"]) > 1]
    assert [len(batch) for batch in editor.batches] == [len(rows), len(longer)]
    prompts = {item["prompt"] for item in rows}
    assert not set(editor.batches[0].texts) <= prompts
    assert set(editor.batches[1].texts) <= prompts
    for item in rows:
        honest, leaking = item["after"]["prompt_only"], item["after"]["teacher_forced"]
        assert honest == item["before"]["teacher_forced"]
        assert (honest == leaking) == (len(item["target_ids"]) == 1)


def test_editors_that_read_no_text_are_asked_once_and_nothing_is_generated_unasked(
    lm: LanguageModel,
) -> None:
    editor = Shift(lm)
    rows = items(run(editor))
    assert len(editor.batches) == 1
    for item in rows:
        assert item["after"]["prompt_only"] == item["after"]["teacher_forced"]
        assert "generated" not in item["after"]


def test_guided_generation_puts_the_instruction_in_front(lm: LanguageModel) -> None:
    editor = DoNothing(lm)
    rows = items(run(editor, generation="context_guided"))
    texts = editor.batches[-1].texts
    assert all(text.startswith("Answer the question") for text in texts)
    prompts = {text.split("Question: ")[1].removesuffix("\nAnswer:") for text in texts}
    assert prompts == {item["prompt"] for item in rows}


class Alike(FastPaths, Shift):
    """Declares that its steering treats all rows alike."""

    @property
    def steers_alike(self) -> bool:
        return True


class ByPrompt(FastPaths, Reader):
    """Declares that its steering depends on the text of a row alone."""

    @property
    def steers_by_prompt(self) -> bool:
        return True


@pytest.mark.parametrize("classes", [(Shift, Alike), (Reader, ByPrompt)])
def test_one_reading_of_a_prompt_answers_as_two(
    lm: LanguageModel, classes: tuple[type[DoNothing], type[DoNothing]]
) -> None:
    apart, together = (editor_class(lm) for editor_class in classes)
    wanted, got = (items(run(editor, generation="context_free")) for editor in (apart, together))
    assert got == wanted
    assert len(together.batches) < len(apart.batches)


class Explode(Shift):
    """Writes NaN at the edit of one subject."""

    label = "EXPLODE"
    subject = REQUESTS[2].subject

    def edit(self, requests: Sequence[EditRequest]) -> None:
        super().edit(requests)
        if any(request.subject == self.subject for request in requests):
            with torch.no_grad():
                self.weight.fill_(float("nan"))


def test_an_editor_that_changes_nothing_is_named(lm: LanguageModel) -> None:
    health = run(DoNothing(lm), 2).health
    assert [block["block"] for block in health] == [0, 1]
    assert remark(health) == "no effect"


def test_a_healthy_stream_is_edited_once(lm: LanguageModel) -> None:
    editor = Shift(lm)
    assert remark(run(editor, 2).health) is None
    assert sum(word.startswith("edit") for word in editor.log) == 4


@pytest.mark.parametrize("n_edits", [1, 2, 4])
def test_the_edit_after_which_outputs_are_nan_is_named(n_edits: int, lm: LanguageModel) -> None:
    editor = Explode(lm)
    ran = run(editor, n_edits)
    place = [row["id"] for row in ran.rows].index("tiny-2")
    (sick,) = [block for block in ran.health if block["effect"] is None]
    assert sick["block"] == place // n_edits
    assert sick["diverged_at"] == place % n_edits + 1
    assert torch.equal(editor.weight, editor.pristine)
    assert editor.log[-1] == "reset"


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        ([(1.0, None)], None),
        ([(0.0, None), (ROUNDING / 2, None)], "no effect"),
        ([(0.0, None), (1.0, None)], "no effect (1 of 2 blocks)"),
        ([(None, 37)], "diverged at edit 37"),
        ([(None, 50), (None, 37), (2.0, None)], "diverged at edit 37 (2 of 3 blocks)"),
        (
            [(None, 5), (0.0, None)],
            "diverged at edit 5 (1 of 2 blocks), no effect (1 of 2 blocks)",
        ),
        ([], None),
    ],
)
def test_remarks(blocks: list[tuple[float | None, int | None]], words: str | None) -> None:
    health: list[dict[str, Any]] = [
        {"block": i, "effect": effect, "diverged_at": at} for i, (effect, at) in enumerate(blocks)
    ]
    assert remark(health) == words
