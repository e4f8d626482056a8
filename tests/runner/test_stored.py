"""Which records follow a protocol, and what a plan or a reference lacks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.core.cells import Cell
from bench.core.config import RunConfig
from bench.core.grids import GridPoint
from bench.runner.stored import (
    missing_cells,
    other_protocols,
    stored_by_protocol,
    with_recorded,
)
from bench.store.inventory import records_of_protocol
from bench.store.results import Record
from tests.core.test_cells import CELL
from tests.report.plots.records import record


def cell_of(record: Record) -> Cell:
    return Cell.from_dict(record["cell"])


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


def test_a_number_that_no_editor_was_run_at_is_not_missing() -> None:
    other = [replace(cell, dataset="counterfact") for cell in FULL if cell.n_edits == 1]
    assert missing_cells([*FULL, *other]) == []
    missing = missing_cells([*FULL, *other, replace(other[0], n_edits=10)])
    assert [(cell.editor, cell.dataset, cell.n_edits) for cell in missing] == [
        ("rome", "counterfact", 10)
    ]


SETS = {"retention": "v1", "distance": "v1"}


def point(record: Record) -> GridPoint:
    cell = cell_of(record)
    names = cell.backbone, cell.editor, cell.dataset, cell.n_edits, cell.seed
    return GridPoint(*names, limit=cell.limit)


def started(when: str, **changes: Any) -> Record:
    return record(**changes) | {"provenance": {"started": when}}


@pytest.mark.parametrize("newest", ["with sets", "without"])
def test_rows_of_records_alone_have_the_wanted_sets(newest: str) -> None:
    plain = started("2" if newest == "without" else "1")
    wide = started("1" if newest == "without" else "2", measures=SETS)

    def keys(*measures: str) -> list[str]:
        config = RunConfig(measure=measures)
        cells = with_recorded([], [point(plain)], [plain, wide], config)
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
    cells = with_recorded([], map(point, records), records, RunConfig())
    assert [(cell.n_edits, cell.editor, cell.seed) for cell in cells if isinstance(cell, Cell)] == [
        (n_edits, editor, seed)
        for n_edits in (1, 10)
        for editor in ("ft", "grace", "recipe")
        for seed in (0, 1)
    ]
