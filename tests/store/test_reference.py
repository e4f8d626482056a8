"""Reference records: what a compact record holds, written in one order, read with keys checked."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.core.cells import Cell
from bench.evaluation.metrics import PROTOCOL_VERSION, SampleRow, summarise
from bench.store import reference
from bench.store.reference import (
    WORST,
    add_to_reference,
    compact,
    line,
    reference_records,
    table_records,
    write_reference,
)
from bench.store.results import Record, complete
from tests.cli.commands import Cli, Refused
from tests.core.test_cells import CELL
from tests.support.records import cell, scored_record

CELLS = [cell("ft", "zsre", 10, 1), cell("ft", "zsre", 10, 0), cell("grace", "zsre", 1, 0)]


def records() -> list[Record]:
    """Records that have no rows, as references have none."""
    whole = [scored_record(of, rel=0.5, gen=0.4, loc=0.3) for of in CELLS]
    whole[1]["summary"]["scores"]["after"]["teacher_forced"]["token_accuracy"]["reliability"] = 0.7
    return whole


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reference, "tables_folder", lambda name: tmp_path / name)
    (tmp_path / "reference").mkdir()
    return tmp_path / "reference"


def test_what_is_written_is_read_and_equal_records_give_equal_files(folder: Path) -> None:
    path = write_reference(folder / "table1.jsonl", records())
    first = path.read_bytes()
    assert write_reference(path, records()[::-1]).read_bytes() == first
    read = reference_records("table1")
    assert [record["key"] for record in read] == sorted(record["key"] for record in records())
    assert list(map(compact, read)) == read


def test_a_line_of_another_cell_is_named(folder: Path) -> None:
    path = write_reference(folder / "table1.jsonl", records())
    lines = path.read_text("utf-8").splitlines()
    changed = json.loads(lines[1])
    changed["cell"]["seed"] = 7
    path.write_text("\n".join([lines[0], json.dumps(changed)]), "utf-8")
    with pytest.raises(ValueError, match=r"table1.jsonl, line 2 holds another cell"):
        reference_records("table1")


def test_records_are_added_to_those_of_other_cells(folder: Path) -> None:
    first, second, third = records()
    path = add_to_reference(folder / "covariance.jsonl", [first, second])
    newer = first | {"health": [{"effect": 0.0}]}
    add_to_reference(path, [newer, third])
    whole = {record["key"]: record for record in reference_records("covariance")}
    assert whole.keys() == {record["key"] for record in records()}
    assert whole[first["key"]]["health"] == newer["health"]


def test_a_file_that_cannot_be_added_to_is_named_and_left(folder: Path) -> None:
    path = folder / "covariance.jsonl"
    path.write_text("no record\n", "utf-8")
    with pytest.raises(ValueError, match=r"covariance\.jsonl, line 1 is no result record"):
        add_to_reference(path, records())
    assert path.read_text("utf-8") == "no record\n"


def test_a_missing_reference_is_named(folder: Path) -> None:
    write_reference(folder / "table1-recent.jsonl", records())  # later editors alone are no table
    for read in (partial(reference_records, "table1"), partial(table_records, 1)):
        with pytest.raises(FileNotFoundError, match="no reference results of table1"):
            read()


def test_tables_come_from_the_reference_alone(folder: Path, cli: Cli, refused: Refused) -> None:
    write_reference(folder / "table1.jsonl", records())
    assert cli("tables", "--reference", "--editors", "ft").code == 0
    text = Path("tables/table1.md").read_text("utf-8")
    assert "| 10 | MP | FT | 60.00±14.14 (44.08)" in text
    assert "| GRACE |" not in text
    sentence = refused("tables", "--reference", "--editors", "rome")
    assert "The reference of table 1 has no cell of this selection." in sentence


def test_tables_are_exported_into_one_file(folder: Path, cli: Cli, refused: Refused) -> None:
    write_reference(folder / "table1.jsonl", records())
    export = ["tables", "--reference", "--export", "written.jsonl"]
    assert cli(*export, "--editors", "grace").code == 0
    assert cli(*export, "--editors", "ft", "--add").code == 0
    assert Path("written.jsonl").read_bytes() == (folder / "table1.jsonl").read_bytes()
    sentence = refused(*export, "--editors", "ft")  # nothing replaces what is there
    assert "written.jsonl is there already and is not overwritten" in sentence
    assert Path("written.jsonl").read_bytes() == (folder / "table1.jsonl").read_bytes()
    sentence = refused("tables", "--reference", "--add")
    assert "--add is for --export FILE alone." in sentence


def test_later_editors_have_a_file_of_their_own_and_rows_on_request(folder: Path, cli: Cli) -> None:
    write_reference(folder / "table1.jsonl", records())
    show = ["tables", "--reference", "--markdown"]
    default = cli(*show).out
    later = scored_record(cell("wise", "zsre", 10, 0), rel=0.5, gen=0.4, loc=0.3)
    write_reference(folder / "table1-recent.jsonl", [later])
    assert [record["cell"]["editor"] for record in table_records(1)][3:] == ["wise"]
    assert cli(*show).out == default
    captured = cli(*show, "--with-recent")
    command = "python -m bench run --table 1 --editors grace --datasets zsre --edits 10"
    assert f"not run at 10 edits: {command}" in captured.err
    rows = [line for line in captured.out.splitlines() if line.startswith("| 10 ")]
    assert [row.split(" | ")[2] for row in rows] == ["FT", "GRACE", "WISE \u00a7"]
    assert rows[1].split(" | ")[3].startswith("- (")  # GRACE has a record of 1 edit alone
    assert cli(*show, "--editors", "wise").code == 0


def test_another_scoring_of_general_ability_has_a_file_of_its_own(cli: Cli, tmp_path: Path) -> None:
    printed = cli(
        "tables", "--table", "2", "--reference", "--scoring", "lm-eval", "--out", tmp_path
    )
    assert printed.code == 0
    text = (tmp_path / "tables" / "table2.md").read_text("utf-8")
    assert "Harness lm-eval" in text
    assert "of another scoring and are not shown" in text
    assert {r["cell"]["scoring"] for r in table_records(2, scoring="lm-eval")} == {"lm-eval"}
    assert {r["cell"]["scoring"] for r in table_records(2)} == {"paper"}


def test_another_preset_has_files_of_its_own(folder: Path, cli: Cli, refused: Refused) -> None:
    show = ["tables", "--reference", "--preset", "small", "--markdown"]
    write_reference(folder / "table1.jsonl", records())
    assert "no reference results of small-table1" in refused(*show)
    own = replaced(records()[0], backbone="smollm2-135m")
    write_reference(folder / "small-table1.jsonl", [own])
    assert [record["key"] for record in table_records(1, preset="small")] == [own["key"]]
    printed = cli(*show).out
    assert "Measured on smollm2-135m" in printed
    assert "GRACE" not in printed


def replaced(record: Record, **changes: Any) -> Record:
    """The record of a cell with other fields."""
    cell = dataclasses.replace(Cell.from_dict(record["cell"]), **changes)
    return record | {"cell": cell.to_dict(), "key": cell.key()}


PROVENANCE = {"git": None, "seconds": {"edit": 1 / 3}, "backbone": "/home/me", "data": "/home"}


def item(aspect: str, wanted: list[int], got: list[int]) -> Any:
    answers = {"teacher_forced": {"ids": got, "text": f"{got}"}}
    before = {"teacher_forced": {"ids": [0] * len(got), "text": "none"}}
    return {
        "aspect": aspect, "kind": "request", "prompt": "P", "target": "T",
        "target_ids": wanted, "before": before, "after": answers,
    }  # fmt: skip


def row(position: int, *right: bool) -> SampleRow:
    """A sample of two-token items; a wrong one has one of two tokens."""
    aspects = ("reliability", "generality", "generality")
    return {
        "id": f"s{position}",
        "block": 0,
        "position": position,
        "edit_seconds": float(position),
        "items": [
            item(aspect, [1, 2], [1, 2] if good else [1, 9])
            for aspect, good in zip(aspects, right, strict=True)
        ],
    }


def full(rows: list[SampleRow], n_edits: int) -> Any:
    cell = dataclasses.replace(
        CELL, n_edits=n_edits, limit=n_edits, hparams={"eps": 1e-8}, metric_version=PROTOCOL_VERSION
    )
    body = {"data": {}, "summary": summarise(rows), "health": [], "rows": rows}
    return complete(cell, {"label": "FT"}, PROVENANCE, body)


ROWS = [row(0, False, False, True), row(1, True, True, True), row(2, True, False, False)]


def test_scores_stay_and_rows_go() -> None:
    whole = full(ROWS, 3)
    small = compact(whole)
    assert "rows" not in small
    assert small["key"] == whole["key"]
    assert small["cell"] == whole["cell"]  # exact: the key is computed from it
    after = small["summary"]["scores"]["after"]["teacher_forced"]["token_accuracy"]
    assert after["reliability"] == pytest.approx((0.5 + 1 + 1) / 3, abs=1e-6)
    assert small["edit_seconds"] == [0.5, 1.0, 1.5]
    assert small["provenance"] == {"git": None, "seconds": {"edit": 0.333333}}  # no local paths


def test_scores_by_age_count_the_edits_that_came_after() -> None:
    youngest, middle, oldest = compact(full(ROWS, 3))["by_age"]
    assert (youngest["from"], youngest["to"], youngest["samples"]) == (0, 0, 1)
    assert (youngest["reliability"], youngest["generality"]) == (1.0, 0.5)  # position 2
    assert (middle["reliability"], middle["generality"]) == (1.0, 1.0)
    assert (oldest["from"], oldest["reliability"], oldest["generality"]) == (2, 0.5, 0.75)


def test_many_ages_are_grouped() -> None:
    rows = [row(position, position < 15, True, True) for position in range(30)]
    ages = compact(full(rows, 30))["by_age"]
    assert [(group["from"], group["to"]) for group in ages[:2]] == [(0, 2), (3, 5)]
    assert [group["reliability"] for group in ages] == [0.5] * 5 + [1.0] * 5


def test_the_worst_samples_have_their_texts() -> None:
    rows = [row(position, position > 0, True, True) for position in range(9)]
    worst = compact(full(rows, 9))["worst"]
    assert len(worst) == WORST
    assert worst[0]["id"] == "s0"
    assert worst[0]["items"][0] == {
        "kind": "reliability/request", "prompt": "P", "target": "T",
        "before": "none", "after": "[1, 9]",
    }  # fmt: skip


def test_a_compact_record_stays_as_it_is() -> None:
    text = line(full(ROWS, 3))
    assert line(json.loads(text)) == text


def test_other_kinds_of_record_lose_their_rows_alone() -> None:
    other = full(ROWS, 3) | {"cell": {"kind": "other"}, "summary": {"average": 1 / 3}}
    small = compact(other)
    assert small["summary"] == {"average": 0.333333}
    assert not {"rows", "worst", "by_age"} & small.keys()
