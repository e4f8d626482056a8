"""Compact records: what they keep, by hand."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from bench.evaluation.metrics import SampleRow, summarise
from bench.store.reference import WORST, compact, line
from bench.store.results import complete
from tests.core.test_cells import CELL

PROVENANCE = {"git": None, "seconds": {"edit": 1 / 3}, "backbone": "/home/me", "data": "/home"}


def item(aspect: str, wanted: list[int], got: list[int]) -> Any:
    answers = {"teacher_forced": {"ids": got, "text": f"{got}"}}
    before = {"teacher_forced": {"ids": [0] * len(got), "text": "none"}}
    return {
        "aspect": aspect, "kind": "request", "prompt": "P", "target": "T",
        "target_ids": wanted, "before": before, "after": answers,
    }  # fmt: skip


def row(position: int, *right: bool) -> SampleRow:
    """A sample of two-token items; a wrong one has one of two tokens."""
    aspects = ("reliability", "generality", "generality")
    return {
        "id": f"s{position}",
        "block": 0,
        "position": position,
        "edit_seconds": float(position),
        "items": [
            item(aspect, [1, 2], [1, 2] if good else [1, 9])
            for aspect, good in zip(aspects, right, strict=True)
        ],
    }


def record(rows: list[SampleRow], n_edits: int) -> Any:
    cell = dataclasses.replace(CELL, n_edits=n_edits, limit=n_edits, hparams={"eps": 1e-8})
    body = {"data": {}, "summary": summarise(rows), "health": [], "rows": rows}
    return complete(cell, {"label": "FT"}, PROVENANCE, body)


ROWS = [row(0, False, False, True), row(1, True, True, True), row(2, True, False, False)]


def test_scores_stay_and_rows_go() -> None:
    whole = record(ROWS, 3)
    small = compact(whole)
    assert "rows" not in small
    assert small["key"] == whole["key"]
    assert small["cell"] == whole["cell"]  # exact: the key is made of it
    after = small["summary"]["scores"]["after"]["teacher_forced"]["token_accuracy"]
    assert after["reliability"] == pytest.approx((0.5 + 1 + 1) / 3, abs=1e-6)
    assert small["edit_seconds"] == [0.5, 1.0, 1.5]


def test_places_of_this_machine_are_left_out() -> None:
    assert compact(record(ROWS, 3))["provenance"] == {"git": None, "seconds": {"edit": 0.333333}}


def test_scores_by_age_count_the_edits_that_came_after() -> None:
    youngest, middle, oldest = compact(record(ROWS, 3))["by_age"]
    assert (youngest["from"], youngest["to"], youngest["samples"]) == (0, 0, 1)
    assert (youngest["reliability"], youngest["generality"]) == (1.0, 0.5)  # position 2
    assert (middle["reliability"], middle["generality"]) == (1.0, 1.0)
    assert (oldest["from"], oldest["reliability"], oldest["generality"]) == (2, 0.5, 0.75)


def test_many_ages_are_grouped() -> None:
    rows = [row(position, position < 15, True, True) for position in range(30)]
    ages = compact(record(rows, 30))["by_age"]
    assert [(group["from"], group["to"]) for group in ages[:2]] == [(0, 2), (3, 5)]
    assert [group["reliability"] for group in ages] == [0.5] * 5 + [1.0] * 5


def test_the_worst_samples_keep_their_texts() -> None:
    rows = [row(position, position > 0, True, True) for position in range(9)]
    worst = compact(record(rows, 9))["worst"]
    assert len(worst) == WORST
    assert worst[0]["id"] == "s0"
    assert worst[0]["items"][0] == {
        "kind": "reliability/request", "prompt": "P", "target": "T",
        "before": "none", "after": "[1, 9]",
    }  # fmt: skip


def test_a_compact_record_stays_as_it_is() -> None:
    text = line(record(ROWS, 3))
    assert line(json.loads(text)) == text


def test_other_kinds_of_record_lose_their_rows_alone() -> None:
    made = record(ROWS, 3) | {"cell": {"kind": "other"}, "summary": {"average": 1 / 3}}
    small = compact(made)
    assert small["summary"] == {"average": 0.333333}
    assert not {"rows", "worst", "by_age"} & small.keys()
