"""Which records are stale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.evaluation.record_kinds import identity_of
from bench.store.inventory import split_stale, stale_reason, warn_of_stale
from bench.store.results import Record, sealed
from bench.tables.figure_data import read_records
from tests.support.stored_records import ability, editing, failure, store_of, timing


def changed(record: Record, **changes: Any) -> Record:
    """The record of a cell with other fields."""
    cell = record["cell"] | changes
    return sealed(record | {"cell": cell, "key": identity_of(cell).key()})


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (editing(), None),
        (ability(), None),
        (timing(), None),
        (failure(), None),
        (changed(editing(), measures={"retention": "v1", "collapse": "v1 of another text"}), None),
        (changed(ability(), edits=None), None),  # no editor that could age
        (changed(timing(), editor=None, editor_version=None, n_edits=0), None),
        (changed(editing(), metric_version=7), "metric protocol 7, now 1"),
        (changed(editing(), measures={"retention": "v0"}), "metric set retention v0, now v1"),
        (changed(editing(), measures={"collapse": "v0 1f"}), "metric set collapse v0, now v1"),
        (changed(editing(), measures={"other": "v1"}), "metric set other v1, now gone"),
        (changed(editing(), editor_version=7), "ft version 7, now 1"),
        (changed(editing(), editor="gone"), "gone version 1, now gone"),
        (changed(ability(), protocol_version=7), "ability protocol 7, now 1"),
        (changed(ability(), wording="version 7"), "wording version 7, now version 1"),
        (
            changed(ability(), edits=ability()["cell"]["edits"] | {"editor_version": 7}),
            "ft version 7, now 1",
        ),
        (changed(timing(), timing_version=3), "timing protocol 3, now 4"),
        (changed(timing(), editor_version=7), "recipe version 7, now 1"),
    ],
)
def test_records_of_other_versions_are_stale(record: Record, reason: str | None) -> None:
    assert stale_reason(record) == reason


def test_stale_records_are_counted_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    old = [changed(editing(seed), metric_version=7) for seed in range(2)]
    current, stale = split_stale([editing(), *old])
    assert (current, stale) == ([editing()], old)
    warn_of_stale([])
    assert capsys.readouterr().err == ""
    warn_of_stale(stale)
    warning = "warning: 2 stale records are left out (metric protocol 7, now 1)"
    assert capsys.readouterr().err.startswith(warning)


def test_figures_leave_stale_records_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = [changed(editing(1), metric_version=7), changed(timing(), timing_version=3)]
    store_of(tmp_path, editing(), *old)
    assert [record["key"] for record in read_records(tmp_path)] == [editing()["key"]]
    assert "1 stale record is left out" in capsys.readouterr().err
