"""Editors that change nothing or blow up are named."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from bench.checks.contract.tiny import REQUESTS, SAMPLES, tiny_llama
from bench.evaluation.driver import CellRun, run_blocks
from bench.tables.table import ROUNDING, remark
from editors.base import EditRequest
from tests.core.test_cells import CELL
from tests.support.fake_editors import DoNothing, Shift


class Explode(Shift):
    """Writes what is no number at the edit of one subject."""

    label = "EXPLODE"
    subject = REQUESTS[2].subject

    def edit(self, requests: Sequence[EditRequest]) -> None:
        super().edit(requests)
        if any(request.subject == self.subject for request in requests):
            with torch.no_grad():
                self.weight.fill_(float("nan"))


def run(editor: DoNothing, n_edits: int) -> CellRun:
    cell = dataclasses.replace(CELL, n_edits=n_edits, limit=4, generation="none")
    return run_blocks(cell, editor, SAMPLES)


def test_an_editor_that_changes_nothing_is_named() -> None:
    health = run(DoNothing(tiny_llama()), 2).health
    assert [block["block"] for block in health] == [0, 1]
    assert remark(health) == "no effect"


def test_an_editor_that_works_is_not() -> None:
    assert remark(run(Shift(tiny_llama()), 2).health) is None


@pytest.mark.parametrize("n_edits", [1, 2, 4])
def test_the_edit_behind_which_there_are_no_numbers_is_found(n_edits: int) -> None:
    editor = Explode(tiny_llama())
    ran = run(editor, n_edits)
    place = [row["id"] for row in ran.rows].index("tiny-2")
    (sick,) = [block for block in ran.health if block["effect"] is None]
    assert sick["block"] == place // n_edits
    assert sick["diverged_at"] == place % n_edits + 1
    assert torch.equal(editor.weight, editor.pristine)
    assert editor.log[-1] == "reset"


def test_a_healthy_stream_is_edited_once() -> None:
    editor = Shift(tiny_llama())
    run(editor, 2)
    assert sum(word.startswith("edit") for word in editor.log) == 4


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
    found: list[dict[str, Any]] = [
        {"block": i, "effect": effect, "diverged_at": at} for i, (effect, at) in enumerate(blocks)
    ]
    assert remark(found) == words
