"""Reference cells run again and compared: equal, near on another machine, or different."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from bench.checks.regression import rerun as module
from bench.checks.regression.rerun import (
    QUICK,
    TOLERANCE,
    Outcome,
    changed_identity,
    compare,
    rerun,
)
from bench.core.config import RunConfig
from bench.core.grids import get_table
from bench.core.names import editor_keys, in_paper
from bench.evaluation import metrics
from bench.runner.planning import Planner, points
from bench.store import results
from bench.store.reference import compact, table_records
from bench.store.results import Record
from editors import registry
from tests.core.test_cells import CELL
from tests.store.test_reference import ROWS, full

TABLE = get_table(1)
# The quickest editor that changes weights; its cell takes two seconds.
PART = (RunConfig(editors=("mend",), datasets=("zsre",), edits=(1,)),)
PROVENANCE = {
    "libraries": {"torch": "2.13.0"},
    "threads": 1,
    "hardware": {"cpu_capability": "AVX512", "device": "cpu"},
    "seconds": {},
}


@pytest.fixture
def now() -> Record:
    return dict(full(ROWS, 3)) | {"provenance": copy.deepcopy(PROVENANCE)}


def shifted(now: Record, by: float) -> Record:
    """The reference of a record, with one score moved."""
    reference = copy.deepcopy(compact(now))
    scores = reference["summary"]["scores"]["after"]["teacher_forced"]["token_accuracy"]
    scores["reliability"] += by
    return reference


def test_a_record_is_equal_or_differs_on_the_same_machine(now: Record) -> None:
    assert compare(compact(now), now, "a cell").verdict == "equal"
    outcome = compare(shifted(now, 1e-6), now, "a cell")
    assert (outcome.verdict, outcome.good) == ("differs", False)
    assert "token_accuracy/reliability was 0.833334 and is 0.833333" in outcome.detail


@pytest.mark.parametrize(
    ("by", "verdict"), [(TOLERANCE * 0.9, "near"), (TOLERANCE * 1.1, "differs")]
)
@pytest.mark.parametrize(
    ("part", "name", "value"),
    [("hardware", "cpu_capability", "AVX2"), ("libraries", "torch", "2.12.0")],
)
def test_another_machine_or_library_has_a_tolerance(
    now: Record, by: float, verdict: str, part: str, name: str, value: str
) -> None:
    reference = shifted(now, by)
    reference["provenance"][part][name] = value
    outcome = compare(reference, now, "a cell")
    assert (outcome.verdict, outcome.good) == (verdict, verdict == "near")


def test_a_cell_that_raises_has_failed(now: Record) -> None:
    failed = results.failed(CELL, {}, PROVENANCE, RuntimeError("out of luck"))
    outcome = compare(compact(now), failed, "a cell")
    assert (outcome.verdict, outcome.detail) == ("failed", "RuntimeError: out of luck")


def test_records_without_a_common_score_differ(now: Record) -> None:
    empty: dict[str, Any] = {"summary": {}}
    assert compare(compact(now) | empty, now, "a cell").verdict == "differs"


def test_a_changed_field_of_a_cell_is_named(now: Record) -> None:
    cell = dataclasses.replace(CELL, n_edits=3, limit=3, hparams={"eps": 1e-8})
    other = dataclasses.replace(cell, hparams={"eps": 1e-6})
    assert changed_identity(now, other.to_dict()) == "hparams.eps was 1e-08 and is 1e-06"
    newer = dataclasses.replace(cell, editor_version=9)
    assert changed_identity(now, newer.to_dict()) == "editor_version was 1 and is 9"
    assert changed_identity(now, cell.to_dict() | {"more": 1}) == "more is new"


def outcome() -> Outcome:
    (only,) = rerun(TABLE, PART, jobs=1)
    return only


def test_the_reference_holds() -> None:
    assert outcome().good


def test_editors_of_later_papers_are_run_again_too() -> None:
    every = [point for part in QUICK for point in points(part)]
    quick = {(point.editor, point.dataset, point.n_edits) for point in every}
    later = {key for key in editor_keys(recent=True) if not in_paper(key)}
    assert {(key, "zsre", 1) for key in later} | {("rag", "counterfact", 10)} <= quick
    (only,) = rerun(TABLE, (RunConfig(editors=("rag",), datasets=("zsre",), edits=(1,)),), jobs=1)
    assert only.verdict in {"equal", "near"}


def test_an_altered_number_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    records = table_records(1)
    monkeypatch.setattr(module, "table_records", lambda _: records)
    wanted = {"editor": "mend", "dataset": "zsre", "n_edits": 1, "seed": 0}
    (altered,) = [record for record in records if wanted.items() <= record["cell"].items()]
    scores = altered["summary"]["scores"]["after"]["teacher_forced"]["token_accuracy"]
    scores["generality"] -= 0.05
    changed = outcome()
    assert changed.verdict == "differs"
    assert "token_accuracy/generality" in changed.detail


def test_another_definition_of_a_metric_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "token_accuracy", lambda predicted, reference: 0.5)
    assert outcome().verdict == "differs"


def test_another_constant_of_an_editor_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    cls = registry.editor_class("mend")
    preset = cls.presets["mini-llama"]
    changed = dataclasses.replace(preset, learning_rate=preset.learning_rate * 2)  # type: ignore[attr-defined,call-arg]
    monkeypatch.setattr(cls, "presets", {**cls.presets, "mini-llama": changed})
    stale = outcome()
    assert stale.verdict == "stale"
    assert "hparams.learning_rate was" in stale.detail


def test_another_protocol_of_metrics_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "PROTOCOL_VERSION", 99)
    stale = outcome()
    assert (stale.verdict, stale.detail) == ("stale", "metric_version was 1 and is 99")


def test_weights_of_this_machine_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "assets_dir", lambda: Path("elsewhere"))
    assert (outcome().verdict, outcome().good) == ("left out", True)


def test_editors_without_weights_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Planner, "edit_jobs", lambda *_, **__: ([], ["no weights"]))
    assert outcome() == Outcome(cell="untrained", verdict="left out", detail="no weights")


def test_cells_that_the_reference_lacks_are_an_error() -> None:
    with pytest.raises(ValueError, match="table 1"):
        list(rerun(TABLE, (RunConfig(editors=("mend",), datasets=("zsre",), edits=(7,)),), jobs=1))
