"""Reference cells run again: which, and what an altered number, constant or protocol does."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest

from bench.checks.regression import rerun as module
from bench.checks.regression.compare import Outcome
from bench.checks.regression.rerun import PARTS, Part, changed_identity, rerun
from bench.core.cells import Cell
from bench.core.config import RunConfig
from bench.core.grids import TABLES
from bench.core.names import DATASETS, editor_keys
from bench.evaluation import metrics
from bench.evaluation.general_ability import scoring
from bench.runner.planning import Planner, points
from bench.store.reference import COVARIANCE, reference_records, table_records
from editors import registry
from tests.store.test_reference import ROWS, full

# The quickest editor that changes weights; its cell takes two seconds.
PART = Part(cells=RunConfig(editors=("mend",), datasets=("zsre",), edits=(1,)))
(ABILITY,) = (part for part in PARTS if part.file == "table2-lm-eval")


def test_a_changed_field_of_a_cell_is_named() -> None:
    now = full(ROWS, 3)
    cell = Cell.from_dict(now["cell"])
    other = dataclasses.replace(cell, hparams={"eps": 1e-6})
    assert changed_identity(now, other.to_dict()) == "hparams.eps was 1e-08 and is 1e-06"
    newer = dataclasses.replace(cell, editor_version=9)
    assert changed_identity(now, newer.to_dict()) == "editor_version was 1 and is 9"
    assert changed_identity(now, cell.to_dict() | {"more": 1}) == "more is new"


def outcome(part: Part = PART) -> Outcome:
    (only,) = rerun([part], jobs=1)
    return only


def test_the_reference_holds() -> None:
    same = outcome()
    assert (same.good, same.reference) == (True, "table1")


def test_a_part_of_every_table_data_set_and_editor_is_run_again() -> None:
    every = [point for part in PARTS for point in points(part.cells)]
    assert {part.cells.table for part in PARTS} == TABLES.keys()
    assert {part.name for part in PARTS} >= {"table1", "table4", COVARIANCE, "table2-lm-eval"}
    assert {point.dataset for point in every} == set(DATASETS)
    assert {point.editor for point in every} == set(editor_keys(recent=True))
    shipped = {registry.describe(key).family for key in editor_keys(recent=True)}
    for table in (1, 5, 6):
        own = [points(part.cells) for part in PARTS if part.cells.table == table]
        editors = {point.editor for some in own for point in some}
        assert {registry.describe(key).family for key in editors} == shipped


def test_editors_of_later_papers_are_run_again_too() -> None:
    later = Part(cells=RunConfig(editors=("rag",), datasets=("zsre",), edits=(1,)))
    assert outcome(later).verdict in {"equal", "near"}


def alter(monkeypatch: pytest.MonkeyPatch, table: int, **names: object) -> dict[str, object]:
    """The committed record of such a cell, which may be changed for the next `rerun`."""
    records = copy.deepcopy(table_records(table))
    monkeypatch.setattr(module, "table_records", lambda *_, **__: records)
    (chosen,) = [
        record
        for record in records
        if names.items() <= (record["cell"].get("edits") or record["cell"]).items()
    ]
    return chosen


def test_an_altered_number_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    altered = alter(monkeypatch, 1, editor="mend", dataset="zsre", n_edits=1, seed=0)
    after = altered["summary"]["scores"]["after"]  # type: ignore[index]
    after["teacher_forced"]["token_accuracy"]["generality"] -= 0.2
    changed = outcome()
    assert changed.verdict == "differs"
    assert "token_accuracy/generality" in changed.detail


def test_an_altered_score_of_general_ability_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    records = copy.deepcopy(reference_records(ABILITY.file))
    monkeypatch.setattr(module, "reference_records", lambda _: records)
    (altered,) = [r for r in records if (r["cell"]["edits"] or {}).get("editor") == "recipe"]
    for task in altered["summary"]["tasks"].values():
        task["score"] *= 0.7
    unedited, edited = rerun([ABILITY], jobs=1)
    assert unedited.good
    assert edited.verdict == "differs"
    assert "/score was" in edited.detail


def test_another_protocol_of_general_ability_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.runner.kinds.PROTOCOL_VERSION", scoring.PROTOCOL_VERSION + 1)
    assert {each.verdict for each in rerun([ABILITY], jobs=1)} == {"stale"}


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
    now = metrics.PROTOCOL_VERSION
    monkeypatch.setattr(metrics, "PROTOCOL_VERSION", 99)
    stale = outcome()
    assert (stale.verdict, stale.detail) == ("stale", f"metric_version was {now} and is 99")


def test_weights_of_this_machine_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "assets_dir", lambda: Path("elsewhere"))
    left = outcome()
    assert (left.verdict, left.good) == ("left out", True)


def test_editors_without_weights_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Planner, "edit_jobs", lambda *_, **__: ([], ["no weights"]))
    assert outcome() == Outcome("not run", "left out", "no weights", "table1")


def test_cells_of_a_real_model_are_left_out_where_it_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (small,) = (part for part in PARTS if part.cells.preset == "small")
    left = outcome(small)
    assert (left.verdict, left.good, left.reference) == ("left out", True, "small-table1")
    assert left.detail == "it needs real data, which --data-dir names"
    monkeypatch.setattr("bench.models.catalogue.cache_root", lambda: tmp_path)
    (left,) = rerun([small], jobs=1, data_dir=tmp_path)
    assert left.detail == (
        "it needs smollm2-135m and all-minilm-l6-v2, "
        "which `python -m bench models fetch small` gets"
    )


def test_a_cell_that_the_reference_lacks_differs() -> None:
    other = Part(cells=RunConfig(editors=("mend",), datasets=("zsre",), edits=(7,)))
    lacking = outcome(other)
    assert lacking.verdict == "differs"
    assert "table1 has no record of it" in lacking.detail
    nowhere = dataclasses.replace(PART, file="elsewhere")
    assert "elsewhere has no record of it" in outcome(nowhere).detail
