"""Committed reference records: written in one order, read with their keys checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.store import reference
from bench.store.reference import (
    add_to_reference,
    compact,
    reference_records,
    table_records,
    write_reference,
)
from bench.store.results import Record
from tests.tables.records import cell, record

CELLS = [cell("ft", "zsre", 10, 1), cell("ft", "zsre", 10, 0), cell("grace", "zsre", 1, 0)]


def records() -> list[Record]:
    """Records that have no rows, as references have none."""
    made = [record(of, rel=0.5, gen=0.4, loc=0.3) for of in CELLS]
    made[1]["summary"]["scores"]["after"]["teacher_forced"]["token_accuracy"]["reliability"] = 0.7
    return [one | {"data": {}} for one in made]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(reference, "tables_folder", lambda name: tmp_path / name)
    (tmp_path / "reference").mkdir()
    return tmp_path / "reference"


def test_what_is_written_is_read_and_equal_records_make_equal_files(folder: Path) -> None:
    path = write_reference(folder / "table1.jsonl", records())
    first = path.read_bytes()
    assert write_reference(path, records()[::-1]).read_bytes() == first
    found = reference_records("table1")
    assert [one["key"] for one in found] == sorted(one["key"] for one in records())
    assert all(compact(one) == one for one in found)


def test_a_line_of_another_cell_is_named(folder: Path) -> None:
    path = write_reference(folder / "table1.jsonl", records())
    lines = path.read_text("utf-8").splitlines()
    changed = json.loads(lines[1])
    changed["cell"]["seed"] = 7
    path.write_text("\n".join([lines[0], json.dumps(changed)]), "utf-8")
    with pytest.raises(ValueError, match=r"table1.jsonl, line 2 holds another cell"):
        reference_records("table1")


def test_records_are_added_to_those_of_other_cells(folder: Path) -> None:
    one, two, three = records()
    path = add_to_reference(folder / "covariance.jsonl", [one, two])
    newer = one | {"health": [{"effect": 0.0}]}
    add_to_reference(path, [newer, three])
    whole = {found["key"]: found for found in reference_records("covariance")}
    assert whole.keys() == {found["key"] for found in records()}
    assert whole[one["key"]]["health"] == newer["health"]


def test_a_file_that_cannot_be_added_to_is_named_and_left(folder: Path) -> None:
    path = folder / "covariance.jsonl"
    path.write_text("no record\n", "utf-8")
    with pytest.raises(ValueError, match=r"covariance\.jsonl, line 1 is no result record"):
        add_to_reference(path, records())
    assert path.read_text("utf-8") == "no record\n"


def test_no_reference_is_said(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no reference results of table9"):
        reference_records("table9")


def test_tables_come_from_the_reference_alone(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_reference(folder / "table1.jsonl", records())
    assert main(["tables", "--reference", "--editors", "ft"]) == 0
    text = (tmp_path / "tables" / "table1.md").read_text("utf-8")
    assert "| 10 | MP | FT | 60.00±14.14 (44.08)" in text
    assert "GRACE" not in text
    assert main(["tables", "--reference", "--editors", "rome"]) == 2
    assert "The reference of table 1 has no cell of this selection." in capsys.readouterr().err


def test_tables_are_exported_into_one_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_reference(folder / "table1.jsonl", records())
    made = str(tmp_path / "made.jsonl")
    export = ["tables", "--reference", "--export", made]
    assert main([*export, "--editors", "grace"]) == 0
    assert main([*export, "--editors", "ft", "--add"]) == 0
    assert Path(made).read_bytes() == (folder / "table1.jsonl").read_bytes()
    assert main([*export, "--editors", "ft"]) == 0  # replaces what is there
    assert len(Path(made).read_text("utf-8").splitlines()) == 2
    assert main(["tables", "--reference", "--add"]) == 2
    assert "--add is for --export FILE alone." in capsys.readouterr().err


def test_later_editors_have_a_file_of_their_own_and_rows_when_asked_for(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_reference(folder / "table1.jsonl", records())
    show = ["tables", "--reference", "--markdown"]
    assert main(show) == 0
    default = capsys.readouterr().out
    later = record(cell("wise", "zsre", 10, 0), rel=0.5, gen=0.4, loc=0.3) | {"data": {}}
    write_reference(folder / "table1-recent.jsonl", [later])
    assert [one["cell"]["editor"] for one in table_records(1)][3:] == ["wise"]
    assert main(show) == 0
    assert capsys.readouterr().out == default
    assert main([*show, "--with-recent"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 10 ")]
    assert [row.split(" | ")[2] for row in rows] == ["FT", "GRACE", "WISE \u00a7"]
    assert rows[1].split(" | ")[3].startswith("- (")  # GRACE has a record of 1 edit alone
    assert main([*show, "--editors", "wise"]) == 0


def test_later_editors_alone_are_no_table(folder: Path) -> None:
    write_reference(folder / "table1-recent.jsonl", records())
    with pytest.raises(FileNotFoundError, match="no reference results of table1"):
        table_records(1)
