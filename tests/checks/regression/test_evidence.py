"""Reference files besides the tables, and records of the paper's backbones, against the paper."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from bench.checks.regression.evidence import (
    compare_published,
    distances,
    evidence,
    lengths,
    pin,
    without_covariance,
)
from bench.core.cells import Cell
from bench.core.grids import get_table
from bench.core.published import PublishedCell, numbers
from bench.store import reference
from bench.store.reference import write_reference
from bench.store.results import Record, ResultStore
from bench.tables.figure_data import write_map
from tests.cli.commands import Cli, Refused
from tests.support.records import cell, map_data, record, scored_record

SETS = ("zsre", "counterfact", "ripple_edits")


def of_length(length: int, *scores: float) -> list[Record]:
    """RECIPE on as many data sets as there are scores."""
    return [
        record("recipe", dataset, 1000, score=score, hparams={"prompt_length": length})
        for dataset, score in zip(SETS, scores, strict=False)
    ]


def bare(editor: str, score: float, seed: int = 0) -> Record:
    """A record without covariance."""
    changed = {"rome": {"mode": "easyedit"}, "memit": {"solver": "isotropic"}}[editor]
    return record(editor, score=score, seed=seed, hparams=changed)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(reference, "tables_folder", lambda name: tmp_path / name)
    (tmp_path / "reference").mkdir()
    return tmp_path / "reference"


def test_lengths_are_means_over_all_three_sets() -> None:
    means = lengths([*of_length(3, 0.5, 0.6, 1.0), *of_length(5, 0.9, 0.9)])
    assert {length for length, _ in means} == {3}  # five tokens lack a data set
    assert means[3, "Rel"] == pytest.approx(70.0)
    assert means[3, "Loc"] == pytest.approx(100.0)


def test_distances_are_medians_by_space() -> None:
    medians = distances(map_data())
    assert medians["embedding space", 1] == 1.5
    assert [space for space, length in medians if length == 3] == [
        "embedding space",
        "map of perplexity 10 from principal components",
        "map of perplexity 10 from noise 0",
    ]


def test_editors_without_covariance_have_the_cells_of_the_tables() -> None:
    means = without_covariance([bare("memit", 0.4), bare("memit", 0.6, seed=1), bare("rome", 0.2)])
    assert means[PublishedCell(1, 10, "MEMIT", "ZSRE", "Rel")] == pytest.approx(50.0)
    assert means[PublishedCell(1, 10, "ROME", "ZSRE", "Rel")] == pytest.approx(20.0)
    assert {cell.table for cell in means} == {1}


@pytest.mark.parametrize(
    "wrong",
    [
        record("rome"),
        record("ft"),
        record("memit", hparams={"solver": "isotropic", "v_lr": 9.0}),
        record("rome", hparams={"mode": "rebuilt_prefix"}),
    ],
)
def test_other_records_are_refused(wrong: Record) -> None:
    with pytest.raises(ValueError, match=r"with rome\.mode=easyedit, memit\.solver=iso"):
        without_covariance([wrong])


def test_what_is_not_committed_is_empty(folder: Path) -> None:
    write_reference(folder / "table1.jsonl", of_length(3, 0.5, 0.5, 0.5))
    ours = evidence({})
    assert (ours.without_covariance, ours.lengths, ours.distances) == ({}, {}, {})


def test_committed_files_are_read(folder: Path) -> None:
    write_reference(folder / "table1.jsonl", of_length(3, 0.5, 0.5, 0.5))
    write_reference(folder / "figure3.jsonl", of_length(1, 0.1, 0.1, 0.1))
    write_reference(folder / "covariance.jsonl", [bare("rome", 0.2)])
    write_map(map_data(), folder / "figure4.json")
    ours = evidence({})
    assert ours.lengths[3, "Gen"] == pytest.approx(50.0)
    assert ours.lengths[1, "Gen"] == pytest.approx(10.0)
    assert len(ours.distances) == 6
    assert len(ours.without_covariance) == 4


def test_the_check_judges_them(folder: Path, tmp_path: Path, cli: Cli) -> None:
    records = [*of_length(3, 0.5, 0.5, 0.5), *of_length(4, 0.6, 0.6, 0.6)]
    write_reference(folder / "figure3.jsonl", records)
    pins = tmp_path / "claims.json"
    arguments = ["check", "--against", "published", "--out", tmp_path / "none"]
    code, printed, _ = cli(*arguments, "--pin", pins)
    assert code == 0
    assert "not tested  holds       Figure 3: more than three CPTs raise Rel and Gen" in printed
    assert "ours: nearest of 2: Rel with 4 CPTs: +10.00 points" in printed
    known = json.loads(pins.read_text("utf-8"))
    assert known["more-cpts-lower-loc/figure3"] == ["not tested", "fails"]
    assert known["three-cpts-nearest-words/figure4"] == ["not tested", "not tested"]
    assert "rome-memit-worse-on-llama-without-covariance/table6" in known


def test_a_file_of_other_records_is_one_sentence(folder: Path, refused: Refused) -> None:
    write_reference(folder / "covariance.jsonl", [record("rome")])
    error = refused("check", "--against", "published", "--out", folder / "none")
    assert error.startswith("error: tables/reference/covariance.jsonl is for presets with")


# ---- cell by cell --------------------------------------------------------------------------------

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
        scored = scored_record(own, rel=printed["Rel"], gen=printed["Gen"], loc=printed["Loc"])
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
def test_an_altered_cell_fails(off: float, code: int, tmp_path: Path, cli: Cli) -> None:
    store = ResultStore(tmp_path / "results")
    for published in as_published(off=off):
        store.write(published)
    report = tmp_path / "check.json"
    arguments = ["check", "--against", "published", "--table", "1", "--out", store.directory]
    said = cli(*arguments, "--json", report, "--markdown", tmp_path / "c.md")
    assert said.code == code
    assert f"check: {'failed' if code else 'passed'}" in said.out
    written = json.loads(report.read_text("utf-8"))
    assert len(written["published"]) == 8
    assert {claim["published"]["verdict"] for claim in written["claims"]} == {"holds", "fails"}
    assert "| agrees | 1 | FT | ZSRE | 10 | Rel |" in (tmp_path / "c.md").read_text("utf-8")


def test_a_verdict_that_is_not_the_known_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    path = tmp_path / "claims.json"
    monkeypatch.setattr("bench.checks.regression.evidence.tables_folder", lambda _: tmp_path)
    arguments = ["check", "--against", "published", "--table", "4", "--out", tmp_path / "none"]
    assert cli(*arguments, "--pin", path).code == 0
    assert cli(*arguments).code == 0
    known = {key: (pair[0], pair[1]) for key, pair in json.loads(path.read_text("utf-8")).items()}
    assert set(known) == {"without-cpt-unedited/table4", "without-ks-gen-loc/table4"}
    pin(known | {"without-ks-gen-loc/table4": ("fails", "holds")}, path)
    said = cli(*arguments)
    assert said.code == 1
    assert "changed  without-ks-gen-loc/table4: was fails and holds" in said.out
