"""`run`, and `tables` of what it computed, on a tiny model and invented data."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli.main import main
from tests.cli.commands import (
    ROWS,
    Cli,
    forbid_loading,
    one_cell,
    raising,
    records,
    tables_arguments,
)
from tests.support.console import without_next_steps


def test_run_computes_prints_and_writes_then_only_prints(
    run_arguments: list[str], monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    first = cli(*run_arguments)
    assert first.code == 0
    assert len(records()) == 2 * 2 * 2
    assert {record["status"]["state"] for record in records()} == {"complete"}
    files = sorted(path.name for path in Path("out/tables").iterdir())
    assert files == ["table1.csv", "table1.md", "table1.tex"]
    assert "written: out/tables/table1.md" in first.out
    assert "GRACE" in first.out
    assert without_next_steps(first.err) == ""  # no progress in a pipe
    forbid_loading(monkeypatch)
    again = cli(*run_arguments)
    assert (again.out, without_next_steps(again.err)) == (first.out, "")
    assert cli(*tables_arguments(run_arguments)).out == first.out


def test_a_record_says_everything(run_arguments: list[str]) -> None:
    assert main([*run_arguments, "--editors", "ft", "--datasets", "cf", "--edits", "2"]) == 0
    (record,) = records()
    assert list(record) == [
        *("schema", "key", "digest", "protocol", "status", "cell", "editor", "provenance"),
        *("data", "summary", "health", "rows"),
    ]
    assert record["cell"]["backbone"] == "tiny"
    assert record["cell"]["limit"] == 4
    assert record["editor"] == {"label": "FT", "family": "MP", "retrieves_text": False}
    assert record["data"]["samples"] == ROWS
    assert record["summary"]["samples"] == len(record["rows"]) == 4
    provenance = record["provenance"]
    assert provenance["threads"] == 1
    assert set(provenance["seconds"]) == {"load", "pristine", "edit", "probe"}
    assert provenance["libraries"]["torch"]
    assert provenance["peak_memory"]["resident"] > 2**20
    item = record["rows"][0]["items"][0]
    assert set(item["after"]) == {"teacher_forced", "prompt_only", "generated"}
    assert item["after"]["teacher_forced"]["text"]


def test_other_settings_are_other_cells(run_arguments: list[str]) -> None:
    options = ["metrics=teacher_forced", "generation-prompt=context_guided", "seeds=3", "limit=2"]
    options.append("dtype=bfloat16")
    for number, variant in enumerate([[], *([f"--{option}"] for option in options)], 1):
        assert main([*one_cell(run_arguments), *variant]) == 0
        assert len(records()) == number
    generation = {record["cell"]["generation"] for record in records()}
    assert generation == {"none", "context_free", "context_guided"}
    for record in records():
        generated = "generated" in record["summary"]["scores"]["after"]
        assert generated == (record["cell"]["generation"] != "none")


def test_seeds_are_averaged_and_read_again_by_tables(run_arguments: list[str], cli: Cli) -> None:
    cell = one_cell(run_arguments)
    printed = cli(*cell, "--n-seeds", "2").out
    assert "over up to 2 seeds (0, 1)" in printed
    assert cli(*tables_arguments(cell)).out == printed


def test_overwrite_redoes(run_arguments: list[str]) -> None:
    cell = one_cell(run_arguments)
    assert main(cell) == 0
    (path,) = Path("out").glob("*.json")
    before = path.stat().st_ino
    assert main(cell) == 0
    assert path.stat().st_ino == before
    rows = records()[0]["rows"]
    assert main([*cell, "--overwrite"]) == 0
    assert path.stat().st_ino != before
    for old, new in zip(rows, records()[0]["rows"], strict=True):
        assert new | {"edit_seconds": 0} == old | {"edit_seconds": 0}


def test_a_failed_cell_is_recorded_and_the_grid_goes_on(
    run_arguments: list[str], monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    with monkeypatch.context() as context:
        failing = raising(RuntimeError("not this time"))
        context.setattr("editors.grace.GraceEditor._train", failing)
        captured = cli(*run_arguments)
    assert captured.code == 1
    states = [(r["cell"]["editor"], r["status"]["state"]) for r in records()]
    assert sorted(states) == [("ft", "complete")] * 4 + [("grace", "failed")] * 4
    assert "error: 4 of 8 cells failed" in captured.err
    failed = "failed: grace on zsre, 2 edits, tiny, seed 0: RuntimeError: not this time"
    assert failed in captured.err
    assert "FT" in captured.out  # the table of what there is
    before = records()
    with monkeypatch.context() as context:
        forbid_loading(context)
        again = cli(*run_arguments)
    assert records() == before
    assert (again.code, again.err) == (1, captured.err)
    assert "does not run them again; with --retry-failed it does." in again.err
    assert main([*run_arguments, "--retry-failed"]) == 0
    assert {r["status"]["state"] for r in records()} == {"complete"}
    assert [r for r in records() if r["cell"]["editor"] == "ft"] == [
        r for r in before if r["cell"]["editor"] == "ft"
    ]


def test_dry_run_writes_nothing(run_arguments: list[str], cli: Cli, tmp_path: Path) -> None:
    dry = ("--dry-run", "--log-json", "events.jsonl")
    *_, ft, grace, count = cli(*run_arguments, *dry).out.splitlines()
    assert count == "8 cells"
    assert ft.endswith("  FT: preset default, bundle original, corpus none, encoder none")
    assert "  GRACE: preset default, " in grace
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_says_so(
    run_arguments: list[str], monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    monkeypatch.setattr("editors.ft.FtEditor.edit", raising(KeyboardInterrupt()))
    interrupted = cli(*run_arguments)
    assert interrupted.code == 130
    assert "the same command continues" in interrupted.err
    assert list(Path("out").iterdir()) == []
