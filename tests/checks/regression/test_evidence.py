"""The reference files besides the tables: Figures 3 and 4, editors without covariance."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.checks.regression.evidence import distances, evidence, lengths, without_covariance
from bench.cli.main import main
from bench.core.published import PublishedCell
from bench.store import reference
from bench.store.reference import write_reference
from bench.store.results import Record
from bench.tables.figure_data import write_map
from tests.report.plots.records import map_data, record

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


def test_the_check_judges_them(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [*of_length(3, 0.5, 0.5, 0.5), *of_length(4, 0.6, 0.6, 0.6)]
    write_reference(folder / "figure3.jsonl", records)
    pins = tmp_path / "claims.json"
    arguments = ["check", "--against", "published", "--out", str(tmp_path / "none")]
    assert main([*arguments, "--pin", str(pins)]) == 0
    printed = capsys.readouterr().out
    assert "not tested  holds       Figure 3: more than three CPTs raise Rel and Gen" in printed
    assert "ours: nearest of 2: Rel with 4 CPTs: +10.00 points" in printed
    known = json.loads(pins.read_text("utf-8"))
    assert known["more-cpts-lower-loc/figure3"] == ["not tested", "fails"]
    assert known["three-cpts-nearest-words/figure4"] == ["not tested", "not tested"]
    assert "rome-memit-worse-on-llama-without-covariance/table6" in known


def test_a_file_of_other_records_is_one_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_reference(folder / "covariance.jsonl", [record("rome")])
    assert main(["check", "--against", "published", "--out", str(tmp_path / "none")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: tables/reference/covariance.jsonl is for presets with")
    assert error.count("\n") == 1
