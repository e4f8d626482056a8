"""Which records are stale, which follow a protocol, and what a plan or a reference lacks."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.core.cells import Cell
from bench.core.grids import GridPoint
from bench.evaluation.record_kinds import identity_of
from bench.store.query import (
    missing_cells,
    missing_commands,
    other_protocols,
    records_of,
    records_of_protocol,
    split_stale,
    stale_reason,
    stale_warning,
    stored_by_protocol,
    with_recorded,
)
from bench.store.results import Record, sealed
from bench.tables.figure_data import read_records
from tests.core.test_cells import CELL
from tests.report.plots.records import record
from tests.support.stored_records import ability, editing, failure, store_of, timing


def changed(record: Record, **changes: Any) -> Record:
    """The record of a cell with other fields."""
    cell = record["cell"] | changes
    return sealed(record | {"cell": cell, "key": identity_of(cell).key()})


def cell_of(record: Record) -> Cell:
    return Cell.from_dict(record["cell"])


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


def test_stale_records_are_counted_in_one_line() -> None:
    old = [changed(editing(seed), metric_version=7) for seed in range(2)]
    current, stale = split_stale([editing(), *old])
    assert (current, stale) == ([editing()], old)
    assert "2 stale records are left out (metric protocol 7, now 1)" in stale_warning(stale)
    assert "1 stale record is left out" in stale_warning(stale[:1])
    assert stale_warning([]) == ""
    assert records_of(stale, [identity_of(editing(1)["cell"])]) == stale[1:]
    assert records_of(stale, [replace(CELL, seed=5)]) == []


def test_figures_leave_stale_records_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = [changed(editing(1), metric_version=7), changed(timing(), timing_version=3)]
    store_of(tmp_path, editing(), *old)
    assert [record["key"] for record in read_records(tmp_path)] == [editing()["key"]]
    assert "1 stale record is left out" in capsys.readouterr().err


def test_records_of_planned_cells_in_other_protocols() -> None:
    plain, other = record("ft"), record("ft", metric_version=2)
    elsewhere = record("ft", metric_version=2, dtype="bfloat16")
    cells = [cell_of(plain)]
    assert other_protocols(cells, [plain]) == ""
    sentence = other_protocols(cells, [plain, other, elsewhere])
    assert sentence.startswith("1 record of these cells follows another protocol (zsre/blocks/v2)")
    assert stored_by_protocol(cells, [plain, other, elsewhere], "blocks/v2") == [cell_of(other)]
    quiet = record("ft", generation="none")  # the same numbers, and no others
    assert stored_by_protocol(cells, [quiet, plain], "blocks/v1") == cells
    assert records_of_protocol([plain, other], "zsre/blocks/v2") == [other]


FULL = [
    replace(CELL, editor=editor, n_edits=n, seed=seed)
    for editor in ("ft", "rome")
    for n in (1, 10)
    for seed in (0, 1)
]


def test_nothing_is_missing_where_every_editor_has_a_seed() -> None:
    assert missing_cells(FULL[:-1]) == []


def test_an_editor_without_a_record_is_missing_with_the_limit_of_the_others() -> None:
    missing = missing_cells([*FULL, replace(FULL[0], n_edits=100, limit=100)])
    assert [(cell.editor, cell.n_edits, cell.limit) for cell in missing] == [("rome", 100, 100)]
    (sentence,) = missing_commands(1, missing)
    assert "run --table 1 --editors rome --datasets zsre --edits 100" in sentence


def test_a_number_that_no_editor_was_run_at_is_not_missing() -> None:
    other = [replace(cell, dataset="counterfact") for cell in FULL if cell.n_edits == 1]
    assert missing_cells([*FULL, *other]) == []
    missing = missing_cells([*FULL, *other, replace(other[0], n_edits=10)])
    assert [(cell.editor, cell.dataset, cell.n_edits) for cell in missing] == [
        ("rome", "counterfact", 10)
    ]


SETS = {"retention": "v1", "distance": "v1"}
with_rows = partial(with_recorded, dtype=CELL.dtype, generation=CELL.generation)


def point(record: Record) -> GridPoint:
    cell = cell_of(record)
    return GridPoint(
        backbone=cell.backbone,
        editor=cell.editor,
        dataset=cell.dataset,
        n_edits=cell.n_edits,
        seed=cell.seed,
        limit=cell.limit,
    )


def started(when: str, **changes: Any) -> Record:
    return record(**changes) | {"provenance": {"started": when}}


@pytest.mark.parametrize("newest", ["with sets", "without"])
def test_rows_of_records_alone_have_the_wanted_sets(newest: str) -> None:
    plain = started("2" if newest == "without" else "1")
    wide = started("1" if newest == "without" else "2", measures=SETS)

    def keys(*measures: str) -> list[str]:
        cells = with_rows([], [point(plain)], [plain, wide], measures=measures)
        return [cell.key() for cell in cells]

    assert keys() == [plain["key"]]
    assert keys("retention") == [wide["key"]]
    assert keys("collapse") == []


def test_rows_of_records_alone_are_in_the_order_of_the_table() -> None:
    records = [
        record(editor, "zsre", n_edits, seed=seed)
        for n_edits in (10, 1)
        for editor in ("recipe", "grace", "ft")
        for seed in (1, 0)
    ]
    cells = with_rows([], map(point, records), records, measures=())
    assert [(cell.n_edits, cell.editor, cell.seed) for cell in cells if isinstance(cell, Cell)] == [
        (n_edits, editor, seed)
        for n_edits in (1, 10)
        for editor in ("ft", "grace", "recipe")
        for seed in (0, 1)
    ]
