"""Records as `run` leaves them, one file a cell, give the tables that committed files give."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from bench.core.cells import Cell
from bench.core.grids import TABLES
from bench.datasets import EDITOR_SOURCE
from bench.report.build import contents
from bench.report.pages import Grid
from bench.report.paper_tables import table_part
from bench.report.sources import Records, layers, read
from bench.store.reference import write_reference
from tests.core.test_cells import CELL
from tests.report.hostile import small_tables, with_cell
from tests.support.stored_records import everything, failure, store_of


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """The small records in a directory of results."""
    folder = tmp_path_factory.mktemp("results")
    store_of(folder, *(record for some in small_tables().values() for record in some))
    return read(folder)


@pytest.fixture(scope="module")
def filed(small_records: Path) -> Records:
    return read(small_records)


def grid_of(number: int, records: Records) -> Grid:
    table, stored = TABLES[number], list(records.all.values())
    return table_part(table, records.cells(table), stored, "t")[0]


@pytest.mark.parametrize("number", [2, 3, 4, 6])
def test_a_table_is_the_same_from_both(number: int, stored: Records, filed: Records) -> None:
    assert stored.all.keys() == filed.all.keys()
    more, fewer = ({row.values for row in grid_of(number, some).rows} for some in (stored, filed))
    assert fewer
    assert fewer <= more


def test_other_settings_stand_beside_the_presets(stored: Records, filed: Records) -> None:
    settings = {name for n in (1, 6) for name in grid_of(n, stored).choices["Settings"]}
    assert "preset" in settings
    assert settings & {"mode=easyedit", "solver=isotropic"}
    others = small_tables()["covariance"]
    assert {cell.key() for cell in filed.beyond()} == {record["key"] for record in others}


def test_a_line_never_mixes_what_was_measured_otherwise() -> None:
    usual = small_tables()["table1"][0]
    changed = with_cell(usual, limit=7 + usual["cell"]["n_edits"])
    cells = [Cell.from_dict(record["cell"]) for record in (usual, changed)]
    _, _, views = table_part(TABLES[1], cells, [usual, changed], "t")
    assert [shown.numbers[0].cells for shown in views] == [(cells[0],), (cells[1],)]


def test_seeds_of_one_line_stay_together() -> None:
    changes: tuple[dict[str, Any], ...] = ({}, {"seed": CELL.seed + 1}, {"hparams": {"lr": 7}})
    cells = [dataclasses.replace(CELL, **change) for change in changes]
    parts = layers(cells, lambda cell: cell.editor, lambda cell: cell.backbone)
    assert parts == [cells[:2], cells[2:]]


def test_full_records_of_every_kind_make_a_report(tmp_path: Path) -> None:
    kinds = [record for record in everything() if record["cell"].get("kind") != "ability"]
    store_of(tmp_path, *kinds, small_tables()["table2"][0])
    records = read(tmp_path)
    assert failure()["key"] not in records.all
    assert {"index.html", "table1.html", "cell.html", "claims.html"} <= contents(records).keys()


def test_a_directory_without_a_complete_record_is_refused(tmp_path: Path) -> None:
    store_of(tmp_path, failure())
    with pytest.raises(ValueError, match="No complete record in"):
        read(tmp_path)


def test_editors_of_later_papers_stand_in_their_table(tmp_path: Path) -> None:
    first = small_tables()["table1"][0]
    later = with_cell(first, editor="rag")
    write_reference(tmp_path / "table1.jsonl", [first])
    write_reference(tmp_path / "table1-recent.jsonl", [later])
    records = read(tmp_path)
    assert {cell.key() for cell in records.cells(TABLES[1])} == {first["key"], later["key"]}
    assert records.beyond() == []


def test_an_own_editor_that_is_not_loaded_is_shown(tmp_path: Path) -> None:
    record = small_tables()["table1"][0]
    store_of(tmp_path, with_cell(record, editor="mine", inputs={EDITOR_SOURCE: "0" * 64}))
    page = contents(read(tmp_path))["table1.html"]
    assert record["editor"]["label"] in str(page)
