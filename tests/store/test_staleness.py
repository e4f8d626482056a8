"""Records of other versions: named, and never in a table with current ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from bench.evaluation.record_kinds import identity_of
from bench.store.results import Record, sealed
from bench.store.staleness import belonging, parted, stale_reason, stale_warning
from bench.tables.figure_data.records import read_records
from tests.core.test_cell import CELL
from tests.support.kept_records import ability, editing, failure, store_of, timing


def of(record: Record, **changes: Any) -> Record:
    """The record of a cell with other fields."""
    cell = record["cell"] | changes
    return sealed(record | {"cell": cell, "key": identity_of(cell).key()})


@pytest.mark.parametrize("record", [editing(), ability(), timing(), failure()])
def test_what_the_present_code_would_make_is_current(record: Record) -> None:
    assert stale_reason(record) is None


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (of(editing(), metric_version=7), "metric protocol 7, now 1"),
        (of(editing(), measures={"retention": "v0"}), "metric set retention v0, now v1"),
        (of(editing(), measures={"collapse": "v0 1f"}), "metric set collapse v0, now v1"),
        (of(editing(), measures={"other": "v1"}), "metric set other v1, now gone"),
        (of(editing(), editor_version=7), "ft version 7, now 1"),
        (of(editing(), editor="gone"), "gone version 1, now gone"),
        (of(ability(), protocol_version=7), "ability protocol 7, now 1"),
        (of(ability(), wording="version 7"), "wording version 7, now version 1"),
        (of(ability(), edits=ability()["cell"]["edits"] | {"editor_version": 7}), " version 7, "),
        (of(timing(), timing_version=3), "timing protocol 3, now 4"),
        (of(timing(), editor_version=7), "recipe version 7, now 1"),
    ],
)
def test_other_versions_are_stale(record: Record, reason: str) -> None:
    assert reason in str(stale_reason(record))


def test_present_metric_sets_are_current() -> None:
    sets = {"retention": "v1", "collapse": "v1 of another text"}
    assert stale_reason(of(editing(), measures=sets)) is None


def test_the_unedited_models_have_no_editor_that_could_age() -> None:
    assert stale_reason(of(ability(), edits=None)) is None
    assert stale_reason(of(timing(), editor=None, editor_version=None, n_edits=0)) is None


def test_stale_records_are_counted_in_one_line() -> None:
    old = [of(editing(seed), metric_version=7) for seed in range(2)]
    current, stale = parted([editing(), *old])
    assert (current, stale) == ([editing()], old)
    assert "2 stale records are left out (metric protocol 7, now 1)" in stale_warning(stale)
    assert "1 stale record is left out" in stale_warning(stale[:1])
    assert stale_warning([]) == ""
    assert belonging(stale, [identity_of(editing(1)["cell"])]) == stale[1:]
    assert belonging(stale, [dataclasses.replace(CELL, seed=5)]) == []


def test_figures_leave_stale_records_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store_of(tmp_path, editing(), of(editing(1), metric_version=7), of(timing(), timing_version=3))
    assert [record["key"] for record in read_records(tmp_path)] == [editing()["key"]]
    assert "1 stale record is left out" in capsys.readouterr().err
