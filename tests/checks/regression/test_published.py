"""Records of the paper's backbones against the published cells; the verdicts on claims."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from bench.checks.regression import evidence
from bench.checks.regression.evidence import compare_published, pin
from bench.cli.main import main
from bench.core.cells import Cell
from bench.core.grids import get_table
from bench.core.published import numbers
from bench.store.results import Record, ResultStore
from tests.tables.records import cell, record

TABLE = get_table(1)
EDITORS = [("ft", "FT"), ("recipe", "RECIPE")]


def as_published(*, off: float = 0.0) -> list[Record]:
    """Records of LLaMA-2-7B at 10 ZSRE edits with the published numbers, RECIPE's Avg moved."""
    records = []
    for editor, label in EDITORS:
        own = dataclasses.replace(
            cell(editor, "zsre", 10, 0),
            backbone="llama-2-7b",
            limit=None,
            dataset_revision="published b8ff1fc2",
        )
        row = (10, label, "ZSRE")
        printed = {c.metric: n.value / 100 for c, n in numbers(1).items() if c[1:4] == row}
        scored = record(own, rel=printed["Rel"], gen=printed["Gen"], loc=printed["Loc"])
        scores = scored["summary"]["scores"]["after"]["teacher_forced"]["token_accuracy"]
        scores["average"] += off if editor == "recipe" else 0.0
        records.append(scored)
    return records


# RECIPE's Avg is 99.31±0.43: three deviations are 1.29 points.
@pytest.mark.parametrize(("off", "differing"), [(0.0, []), (-0.0128, []), (-0.0135, ["RECIPE"])])
def test_a_cell_may_be_three_deviations_away_and_no_more(off: float, differing: list[str]) -> None:
    every = list(compare_published(TABLE, as_published(off=off)))
    assert len(every) == 8
    far = [comparison for comparison in every if comparison.verdict == "differs"]
    assert [comparison.cell.editor for comparison in far] == differing
    assert all("97.95 over 1 seed, published 99.31±0.43, 1.29 allowed" in str(c) for c in far)


def test_a_cell_counts_once_that_was_run_with_metric_sets_too() -> None:
    again = as_published(off=-5.0)
    for extra in again:
        extra["cell"]["measures"] = {"retention": "v1"}
        extra["key"] = Cell.from_dict(extra["cell"]).key()
    every = list(compare_published(TABLE, [*as_published(), *again]))
    assert {(comparison.verdict, comparison.ours.n) for comparison in every} == {("agrees", 1)}


def test_limited_runs_and_other_backbones_are_left_out() -> None:
    records = as_published()
    records[0]["cell"]["limit"] = 100
    records[1]["cell"]["backbone"] = "mini-llama"
    assert list(compare_published(TABLE, records)) == []


@pytest.mark.parametrize(("off", "code"), [(0.0, 0), (-0.05, 1)])
def test_the_command_fails_for_an_altered_cell(
    off: float, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ResultStore(tmp_path / "results")
    for published in as_published(off=off):
        store.write(published)
    report = tmp_path / "check.json"
    arguments = ["check", "--against", "published", "--table", "1", "--out", str(store.directory)]
    assert main([*arguments, "--json", str(report), "--markdown", str(tmp_path / "c.md")]) == code
    assert f"check: {'failed' if code else 'passed'}" in capsys.readouterr().out
    written = json.loads(report.read_text("utf-8"))
    assert len(written["published"]) == 8
    assert {claim["published"]["verdict"] for claim in written["claims"]} == {"holds", "fails"}
    assert "| agrees | 1 | FT | ZSRE | 10 | Rel |" in (tmp_path / "c.md").read_text("utf-8")


def test_a_verdict_that_is_not_the_known_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "claims.json"
    monkeypatch.setattr(evidence, "tables_folder", lambda _: tmp_path)
    arguments = ["check", "--against", "published", "--table", "4", "--out", str(tmp_path / "none")]
    assert main([*arguments, "--pin", str(path)]) == 0
    assert main(arguments) == 0
    known = {key: (pair[0], pair[1]) for key, pair in json.loads(path.read_text("utf-8")).items()}
    assert set(known) == {"without-cpt-unedited/table4", "without-ks-gen-loc/table4"}
    pin(known | {"without-ks-gen-loc/table4": ("fails", "holds")}, path)
    assert main(arguments) == 1
    assert "changed  without-ks-gen-loc/table4: was fails and holds" in capsys.readouterr().out
