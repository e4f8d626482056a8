"""Reading records to draw from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.store.results import ResultStore, failed, sealed
from bench.tables.figure_data import read_records
from tests.core.test_cells import CELL
from tests.evaluation.timing.test_time_table import cell as timing_cell
from tests.evaluation.timing.test_time_table import record as timing_record
from tests.report.plots.records import PROVENANCE, record, write_lines
from tests.store.test_reference import ROWS, full


def test_a_store_of_full_records_is_read_compact(tmp_path: Path) -> None:
    ResultStore(tmp_path).write(full(ROWS, 3))
    (found,) = read_records(tmp_path)
    assert "rows" not in found
    assert found["edit_seconds"] == [0.5, 1.0, 1.5]


def test_lines_are_read_once_per_cell_and_other_kinds_left_out(tmp_path: Path) -> None:
    one, two = record("ft"), record("rome")
    write_lines(tmp_path / "a.jsonl", [one, two, timing_record(timing_cell("recipe"))])
    write_lines(tmp_path / "b.jsonl", [two])
    assert {found["key"] for found in read_records(tmp_path)} == {one["key"], two["key"]}
    assert len(read_records(tmp_path)) == 2


def test_failed_cells_are_left_out(tmp_path: Path) -> None:
    error = failed(CELL, {"label": "FT"}, PROVENANCE, RuntimeError("no"))
    write_lines(tmp_path / "a.jsonl", [error])
    with pytest.raises(ValueError, match="No complete record of an editing run"):
        read_records(tmp_path)


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No records at"):
        read_records(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ['{"cell"', "[1]", '{"status": {}, "cell": {"n_edits": 1}}'])
def test_a_damaged_line_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(sealed(record())) + "\n" + text + "\n")
    with pytest.raises(ValueError, match=r"a\.jsonl, line 2 is no result record"):
        read_records(tmp_path)


def test_a_line_with_another_key_is_named(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", [record() | {"key": "0" * 64}])
    with pytest.raises(ValueError, match="line 1 holds another cell"):
        read_records(tmp_path)
