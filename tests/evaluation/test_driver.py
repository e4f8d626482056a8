"""The protocol: in blocks, edits in order, all probed after the last, and the model reset."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from bench.checks.contract.tiny import SAMPLES, tiny_llama
from bench.core.numerics import draw
from bench.evaluation.driver import run_blocks
from bench.evaluation.inference import predict
from bench.evaluation.metrics import SampleRow, summarise
from bench.evaluation.probing import items_of
from editors.base import EditRequest
from editors.parts.fast_paths import FastPaths
from editors.parts.language_model import LanguageModel
from tests.core.test_cells import CELL
from tests.support.fake_editors import Broken, DoNothing, Shift

N = 2


@pytest.fixture
def lm() -> LanguageModel:
    return tiny_llama()


def run(editor: DoNothing, *, batch_size: int = 64, **changes: Any) -> list[SampleRow]:
    values: dict[str, Any] = {"n_edits": N, "limit": 4, "generation": "none"}
    cell = dataclasses.replace(CELL, **values | changes)
    return run_blocks(cell, editor, SAMPLES, batch_size=batch_size).rows


def test_blocks_reset_edit_all_then_probe_all(lm: LanguageModel) -> None:
    editor = DoNothing(lm)
    rows = run(editor)
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


def words(editor: DoNothing) -> list[str]:
    return [word.split()[0] if "edit" in word else word for word in editor.log]


def test_single_edits_are_prepared_together_and_each_is_applied_to_the_pristine_model(
    lm: LanguageModel,
) -> None:
    editor = Together(lm)
    run(editor, n_edits=1, limit=3)
    each = ["edit", "probe", "reset"]
    assert words(editor) == ["reset", "prepare 2", *each, *each, "prepare 1", *each, "reset"]


def test_later_edits_are_prepared_on_the_model_as_edited(lm: LanguageModel) -> None:
    editor = Together(lm)
    run(editor, n_edits=2, limit=2)
    each = ["prepare 1", "edit"]
    assert words(editor) == ["reset", *each, *each, "probe", "reset", "reset"]


def test_seconds_of_what_was_prepared_together_are_shared(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr("bench.core.numerics.time.perf_counter", lambda: float(next(ticks)))
    rows = run(Together(lm), n_edits=1, limit=3)
    assert [row["edit_seconds"] for row in rows] == [1.5, 1.5, 2.0]


def test_incomplete_tail_is_dropped_and_never_edited(lm: LanguageModel) -> None:
    editor = DoNothing(lm)
    rows = run(editor, n_edits=3)
    assert [row["block"] for row in rows] == [0, 0, 0]
    assert sum(word.startswith("edit") for word in editor.log) == 3


def test_limit_draws_fewer_samples(lm: LanguageModel) -> None:
    rows = run(DoNothing(lm), n_edits=1, limit=2)
    assert [row["id"] for row in rows] == [s.id for s in draw(SAMPLES, seed=0, limit=2)]


def test_fewer_samples_than_edits_are_refused(lm: LanguageModel) -> None:
    with pytest.raises(ValueError, match=r"5 sequential edits .* got 4"):
        run(DoNothing(lm), n_edits=5, limit=5)


def test_an_editor_that_does_nothing_shows(lm: LanguageModel) -> None:
    summary = summarise(run(DoNothing(lm), generation="context_free"))
    before, after = summary["scores"]["before"], summary["scores"]["after"]
    assert after["teacher_forced"] == before["teacher_forced"]
    assert after["generated"] == before["generated"]
    assert after["teacher_forced"]["exact"]["locality"] == 1.0
    assert after["generated"]["generated_exact"]["locality"] == 1.0
    assert before["teacher_forced"]["token_accuracy"]["reliability"] < 1.0


def test_pristine_answers_are_those_of_the_unedited_model(lm: LanguageModel) -> None:
    for row in run(Shift(lm)):
        sample = next(s for s in SAMPLES if s.id == row["id"])
        expected = [list(answer.predicted_ids) for answer in predict(lm, items_of(sample))]
        assert [i["before"]["teacher_forced"]["ids"] for i in row["items"]] == expected


def test_all_edits_of_a_block_are_in_place_when_it_is_probed(lm: LanguageModel) -> None:
    rows = run(Shift(lm))
    editor = Shift(tiny_llama())
    block = draw(SAMPLES, seed=0, limit=4)[:N]
    for sample in block:
        editor.edit([sample.request])
    items = [item for sample in block for item in items_of(sample)]
    expected = [list(answer.predicted_ids) for answer in predict(editor.lm, items)]
    assert [i["after"]["teacher_forced"]["ids"] for r in rows[:N] for i in r["items"]] == expected
    editor.reset()
    editor.edit([block[0].request])
    assert [list(answer.predicted_ids) for answer in predict(editor.lm, items)] != expected


def test_phases_and_edits_are_timed(lm: LanguageModel) -> None:
    ran = run_blocks(dataclasses.replace(CELL, n_edits=2, limit=4), DoNothing(lm), SAMPLES)
    assert set(ran.seconds) == {"pristine", "edit", "probe", "generate"}
    assert ran.seconds["edit"] == pytest.approx(sum(row["edit_seconds"] for row in ran.rows))


def test_a_failing_editor_is_reset(lm: LanguageModel) -> None:
    editor = Broken(lm)
    with pytest.raises(RuntimeError, match="too much"):
        run(editor)
    assert editor.log[-1] == "reset"
