"""The protocol: blocks of edits, probed after the last by each channel, then a reset."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.checks.contract.tiny import REQUESTS, SAMPLES, Subject, tiny_llama
from bench.core.numerics import draw
from bench.evaluation.driver import CellRun, run_blocks
from bench.evaluation.inference import predict
from bench.evaluation.metrics import ItemRow, SampleRow, summarise
from bench.evaluation.probing import items_of
from bench.tables.table import ROUNDING, remark
from editors.base import Editor, EditRequest
from editors.parts.fast_paths import FastPaths
from editors.parts.language_model import LanguageModel
from tests.core.test_cells import CELL
from tests.support.fake_editors import Broken, DoNothing, Reader, Shift

N = 2


def run(editor: Editor[Any], n_edits: int = 4, *, batch_size: int = 64, **changes: Any) -> CellRun:
    values: dict[str, Any] = {"n_edits": n_edits, "limit": 4, "generation": "none"}
    cell = dataclasses.replace(CELL, **values | changes)
    return run_blocks(cell, editor, SAMPLES, batch_size=batch_size)


def rows_of(editor: Editor[Any], n_edits: int = N, **changes: Any) -> list[SampleRow]:
    return run(editor, n_edits, **changes).rows


def test_blocks_reset_edit_all_then_probe_all(lm: LanguageModel) -> None:
    editor = DoNothing(lm)
    rows = rows_of(editor)
    order = [sample.request.subject for sample in draw(SAMPLES, seed=0, limit=4)]
    edits = [f"edit {subject}" for subject in order]
    first = [*edits[:2], "probe", "reset"]
    second = [*edits[2:], "probe", "reset"]
    assert editor.log == ["reset", *first, *second, "reset"]
    assert [(row["block"], row["position"]) for row in rows] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [len(batch) for batch in editor.batches] == [N * 3, N * 3]  # each the whole block


class Together(FastPaths, DoNothing):
    """Logs what it prepares at once."""

    @property
    def edits_at_once(self) -> int:
        return 2

    def prepare(self, requests: Sequence[EditRequest]) -> Sequence[Callable[[], None]]:
        self.log.append(f"prepare {len(requests)}")
        return super().prepare(requests)


ALONE = ["edit", "probe", "reset"]
LATER = ["prepare 1", "edit"]


@pytest.mark.parametrize(
    ("n_edits", "limit", "words"),
    [
        (1, 3, ["prepare 2", *ALONE, *ALONE, "prepare 1", *ALONE]),  # on the pristine model
        (2, 2, [*LATER, *LATER, "probe", "reset"]),  # on the model as edited
    ],
)
def test_single_edits_are_prepared_together_and_later_ones_alone(
    n_edits: int, limit: int, words: list[str], lm: LanguageModel
) -> None:
    editor = Together(lm)
    rows_of(editor, n_edits=n_edits, limit=limit)
    log = [word.split()[0] if "edit" in word else word for word in editor.log]
    assert log == ["reset", *words, "reset"]


def test_seconds_of_what_was_prepared_together_are_shared(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr("bench.core.numerics.time.perf_counter", lambda: float(next(ticks)))
    rows = rows_of(Together(lm), n_edits=1, limit=3)
    assert [row["edit_seconds"] for row in rows] == [1.5, 1.5, 2.0]


class Batches(DoNothing):
    """Logs the size of each call."""

    def edit(self, requests: Sequence[EditRequest]) -> None:
        self.log.append(f"edit {len(requests)}")


@pytest.mark.parametrize(
    ("n_edits", "batch", "words"),
    [
        (4, 2, ["edit 2", "edit 2", "probe", "reset"]),
        (3, 2, ["edit 2", "edit 1", "probe", "reset"]),
        (2, 5, ["edit 2", "probe", "reset", "edit 2", "probe", "reset"]),
    ],
)
def test_a_step_is_one_call_of_up_to_a_batch_of_one_block(
    n_edits: int, batch: int, words: list[str], lm: LanguageModel
) -> None:
    editor = Batches(lm)
    rows_of(editor, n_edits, batch_per_step=batch)
    assert editor.log == ["reset", *words, "reset"]


def test_edits_of_a_batch_share_its_seconds(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr("bench.core.numerics.time.perf_counter", lambda: float(next(ticks)))
    rows = rows_of(Batches(lm), n_edits=3, limit=3, batch_per_step=2)
    assert [row["edit_seconds"] for row in rows] == [0.5, 0.5, 1.0]


@pytest.mark.parametrize("key", ["ike", "lte", "rag", "recipe"])
def test_a_memory_does_not_depend_on_batches(key: str, artefacts: Path) -> None:
    subject = Subject(key=key, architecture="llama", directory=artefacts)
    single, batches = ([*rows_of(subject.editor(), 4, batch_per_step=size)] for size in (1, 3))
    for row in (*single, *batches):
        row["edit_seconds"] = 0.0
    assert batches == single


@pytest.mark.parametrize(("n_edits", "limit", "edited"), [(3, 4, 3), (1, 2, 2)])
def test_a_limit_draws_fewer_samples_and_an_incomplete_tail_is_dropped_and_never_edited(
    n_edits: int, limit: int, edited: int, lm: LanguageModel
) -> None:
    editor = DoNothing(lm)
    rows = rows_of(editor, n_edits, limit=limit)
    order = draw(SAMPLES, seed=0, limit=limit)[:edited]
    assert [(row["id"], row["block"]) for row in rows] == [
        (sample.id, place // n_edits) for place, sample in enumerate(order)
    ]
    assert sum(word.startswith("edit") for word in editor.log) == edited


def test_fewer_samples_than_edits_are_refused(lm: LanguageModel) -> None:
    with pytest.raises(ValueError, match=r"5 sequential edits .* got 4"):
        rows_of(DoNothing(lm), n_edits=5, limit=5)


def test_an_editor_that_does_nothing_shows(lm: LanguageModel) -> None:
    ran = run(DoNothing(lm), N, generation="context_free")
    assert set(ran.seconds) == {"pristine", "edit", "probe", "generate"}
    assert [block["block"] for block in ran.health] == [0, 1]
    assert remark(ran.health) == "no effect"
    summary = summarise(ran.rows)
    before, after = summary["scores"]["before"], summary["scores"]["after"]
    assert after["teacher_forced"] == before["teacher_forced"]
    assert after["generated"] == before["generated"]
    assert after["teacher_forced"]["exact"]["locality"] == 1.0
    assert after["generated"]["generated_exact"]["locality"] == 1.0
    assert before["teacher_forced"]["token_accuracy"]["reliability"] < 1.0


def test_a_block_is_probed_with_all_its_edits_in_place_and_compared_with_the_unedited_model(
    lm: LanguageModel,
) -> None:
    shifting, editor = Shift(lm), Shift(tiny_llama())
    ran = run(shifting, N)
    assert remark(ran.health) is None
    assert sum(word.startswith("edit") for word in shifting.log) == 4  # a healthy stream: once
    block = draw(SAMPLES, seed=0, limit=4)[:N]
    items = [item for sample in block for item in items_of(sample)]
    given = [item for row in ran.rows[:N] for item in row["items"]]

    def answers() -> list[list[int]]:
        return [list(answer.predicted_ids) for answer in predict(editor.lm, items)]

    assert [item["before"]["teacher_forced"]["ids"] for item in given] == answers()
    editor.edit([block[0].request])
    first = answers()
    editor.edit([block[1].request])
    assert [item["after"]["teacher_forced"]["ids"] for item in given] == answers() != first


def test_a_failing_editor_is_reset(lm: LanguageModel) -> None:
    editor = Broken(lm)
    with pytest.raises(RuntimeError, match="too much"):
        rows_of(editor)
    assert editor.log[-1] == "reset"


def item_rows(ran: CellRun) -> list[ItemRow]:
    return [item for row in ran.rows for item in row["items"]]


@pytest.mark.parametrize("editor_class", [Shift, Reader])
def test_answers_do_not_depend_on_the_batch_size(editor_class: type[DoNothing]) -> None:
    small, middle, large = (
        item_rows(run(editor_class(tiny_llama()), batch_size=size, generation="context_free"))
        for size in (1, 5, 64)
    )
    assert small == middle == large


def test_prompt_only_is_asked_only_where_the_retrieval_texts_differ(lm: LanguageModel) -> None:
    editor = Reader(lm)
    rows = item_rows(run(editor))
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
    rows = item_rows(run(editor))
    assert len(editor.batches) == 1
    for item in rows:
        assert item["after"]["prompt_only"] == item["after"]["teacher_forced"]
        assert "generated" not in item["after"]


def test_guided_generation_puts_the_instruction_in_front(lm: LanguageModel) -> None:
    editor = DoNothing(lm)
    rows = item_rows(run(editor, generation="context_guided"))
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
    wanted, got = (
        item_rows(run(editor, generation="context_free")) for editor in (apart, together)
    )
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


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_without_numbers_is_named_before_an_edit(lm: LanguageModel, value: float) -> None:
    name = "model.layers.1.mlp.down_proj.weight"
    with torch.no_grad():
        lm.model.get_parameter(name)[0, 0] = value
    editor = DoNothing(lm)
    with pytest.raises(ValueError, match=f"unedited model tiny-llama answers 12 of 12 .* {name}"):
        run(editor)
    assert "edit" not in " ".join(editor.log)


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        ([(1.0, None)], None),
        ([(0.0, None), (ROUNDING / 2, None)], "no effect"),
        ([(0.0, None), (1.0, None)], "no effect (1 of 2 blocks)"),
        ([(None, 37)], "diverged at edit 37"),
        ([(None, 50), (None, 37), (2.0, None)], "diverged at edit 37 (2 of 3 blocks)"),
        ([(None, 5), (0.0, None)], "diverged at edit 5 (1 of 2 blocks), no effect (1 of 2 blocks)"),
        ([], None),
    ],
)
def test_remarks(blocks: list[tuple[float | None, int | None]], words: str | None) -> None:
    health: list[dict[str, Any]] = [
        {"block": i, "effect": effect, "diverged_at": at} for i, (effect, at) in enumerate(blocks)
    ]
    assert remark(health) == words
