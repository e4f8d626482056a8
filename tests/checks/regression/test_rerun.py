"""A reference cell run again: equal, and different as soon as anything that makes it changes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from bench.checks.regression import rerun as module
from bench.checks.regression.rerun import QUICK, Outcome, Part, rerun
from bench.core.grids import get_table
from bench.core.names import editor_keys, in_paper
from bench.evaluation import metrics
from bench.store.reference import table_records
from bench.store.results import Record
from editors import registry

TABLE = get_table(1)
# The quickest editor that changes weights; its cell takes two seconds.
PART = (Part(editors=("mend",), datasets=("zsre",), edits=(1,)),)


def outcome() -> Outcome:
    (found,) = rerun(TABLE, PART, jobs=1)
    return found


@pytest.fixture
def altered(monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """References that a test may change before they are read."""
    records = table_records(1)
    monkeypatch.setattr(module, "table_records", lambda _: records)
    return records


def test_the_reference_holds() -> None:
    assert outcome().good


def test_editors_of_later_papers_are_run_again_too() -> None:
    quick = {
        (p.editor, p.dataset, p.n_edits) for part in QUICK for p in module._points(TABLE, part)
    }
    later = {key for key in editor_keys(recent=True) if not in_paper(key)}
    assert {(key, "zsre", 1) for key in later} | {("rag", "counterfact", 10)} <= quick
    (found,) = rerun(TABLE, (Part(editors=("rag",), datasets=("zsre",), edits=(1,)),), jobs=1)
    assert found.good
    assert found.verdict in {"equal", "near"}


def test_an_altered_number_is_found(altered: list[Record]) -> None:
    (one,) = [
        record
        for record in altered
        if (record["cell"]["editor"], record["cell"]["dataset"]) == ("mend", "zsre")
        and (record["cell"]["n_edits"], record["cell"]["seed"]) == (1, 0)
    ]
    one["summary"]["scores"]["after"]["teacher_forced"]["token_accuracy"]["generality"] -= 0.05
    found = outcome()
    assert found.verdict == "differs"
    assert "token_accuracy/generality" in found.detail


def test_another_definition_of_a_metric_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "token_accuracy", lambda predicted, reference: 0.5)
    assert outcome().verdict == "differs"


def test_another_constant_of_an_editor_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    cls = registry.editor_class("mend")
    preset = cls.presets["mini-llama"]
    changed = dataclasses.replace(preset, learning_rate=preset.learning_rate * 2)  # type: ignore[attr-defined,call-arg]
    monkeypatch.setattr(cls, "presets", {**cls.presets, "mini-llama": changed})
    found = outcome()
    assert found.verdict == "stale"
    assert "hparams.learning_rate was" in found.detail


def test_another_protocol_of_metrics_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "PROTOCOL_VERSION", 99)
    found = outcome()
    assert (found.verdict, found.detail) == ("stale", "metric_version was 1 and is 99")


def test_weights_of_this_machine_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "assets_dir", lambda: Path("elsewhere"))
    found = outcome()
    assert (found.verdict, found.good) == ("left out", True)
    assert found.detail == "its weights were trained here"


def test_editors_without_weights_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "trained_points", lambda points, *_, **__: ([], ["no weights"]))
    assert outcome() == Outcome(cell="untrained", verdict="left out", detail="no weights")


def test_cells_that_the_reference_lacks_are_said() -> None:
    with pytest.raises(ValueError, match="none of the cells to re-run"):
        list(rerun(TABLE, (Part(editors=("mend",), datasets=("zsre",), edits=(7,)),), jobs=1))
