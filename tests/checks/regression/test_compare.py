"""A record beside its reference: exact on the same machine, near on another, or different."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest

from bench.checks.regression.rerun import TOLERANCE, changed_identity, compare
from bench.store import results
from bench.store.compact import compact
from bench.store.results import Record
from tests.core.test_cells import CELL
from tests.store.test_compact import ROWS, record

MADE = {
    "libraries": {"torch": "2.13.0"},
    "threads": 1,
    "hardware": {"cpu_capability": "AVX512", "device": "cpu"},
    "seconds": {},
}


@pytest.fixture
def now() -> Record:
    return dict(record(ROWS, 3)) | {"provenance": copy.deepcopy(MADE)}


def shifted(reference: Record, by: float) -> Record:
    """The reference with one score moved."""
    changed = copy.deepcopy(reference)
    changed["summary"]["scores"]["after"]["teacher_forced"]["token_accuracy"]["reliability"] += by
    return changed


def test_the_same_record_is_equal(now: Record) -> None:
    assert compare(compact(now), now, "a cell").verdict == "equal"


def test_the_smallest_change_differs_on_the_same_machine(now: Record) -> None:
    found = compare(shifted(compact(now), 1e-6), now, "a cell")
    assert found.verdict == "differs"
    assert not found.good
    assert "token_accuracy/reliability was 0.833334 and is 0.833333" in found.detail


@pytest.mark.parametrize(
    ("by", "verdict"), [(TOLERANCE * 0.9, "near"), (TOLERANCE * 1.1, "differs")]
)
def test_another_machine_has_a_tolerance(now: Record, by: float, verdict: str) -> None:
    reference = shifted(compact(now), by)
    reference["provenance"]["hardware"]["cpu_capability"] = "AVX2"
    assert compare(reference, now, "a cell").verdict == verdict


def test_another_library_is_another_machine(now: Record) -> None:
    reference = shifted(compact(now), 1e-3)
    reference["provenance"]["libraries"]["torch"] = "2.12.0"
    found = compare(reference, now, "a cell")
    assert (found.verdict, found.good) == ("near", True)
    assert "1 of " in found.detail


def test_a_cell_that_raises_has_failed(now: Record) -> None:
    failed = results.failed(CELL, {}, MADE, RuntimeError("out of luck"))
    found = compare(compact(now), failed, "a cell")
    assert (found.verdict, found.detail) == ("failed", "RuntimeError: out of luck")


def test_records_without_a_common_score_differ(now: Record) -> None:
    empty: dict[str, Any] = {"summary": {}}
    assert compare(compact(now) | empty, now, "a cell").verdict == "differs"


def test_what_changed_of_a_cell_is_named(now: Record) -> None:
    cell = dataclasses.replace(CELL, n_edits=3, limit=3, hparams={"eps": 1e-8})
    other = dataclasses.replace(cell, hparams={"eps": 1e-6})
    assert changed_identity(now, other.to_dict()) == "hparams.eps was 1e-08 and is 1e-06"
    newer = dataclasses.replace(cell, editor_version=9)
    assert changed_identity(now, newer.to_dict()) == "editor_version was 1 and is 9"
    added = cell.to_dict() | {"more": 1}
    assert changed_identity(now, added) == "more is new"
