"""Table 3 from records, and the run that makes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.checks.regression.evidence import values
from bench.cli.main import main
from bench.core.config import Weights
from bench.core.grids import get_table
from bench.evaluation.record_kinds import TimingCell, identity_of
from bench.store import results
from bench.store.results import Record, ResultStore
from bench.tables.render import to_csv
from bench.tables.times import machine_of, view

TABLE = get_table(3)


def cell(editor: str | None, n_edits: int = 10, weights: Weights = "trained") -> TimingCell:
    return TimingCell(
        backbone="mini-llama",
        backbone_digest="0" * 64,
        dtype="float32",
        dataset="counterfact",
        dataset_revision="made",
        dataset_digest="1" * 64,
        editor=editor,
        editor_version=None if editor is None else 1,
        hparams={},
        inputs={},
        n_edits=0 if editor is None else n_edits,
        seed=0,
        queries=100,
        new_tokens=20,
        weights=weights,
        timing_version=4,
    )


def seconds(middle: float) -> dict[str, float]:
    return {"median": middle, "lower": middle / 2, "upper": 2 * middle, "count": 10}


def record(of: TimingCell, *, trained: int | None = None) -> Record:
    summary: dict[str, Any] = {
        "edit": None if of.editor is None else seconds(0.4),
        "forward": seconds(0.1),
        "overhead": 1.0 if of.editor is None else 1.25,
        "forward_bfloat16": seconds(0.05),
        "generation": seconds(0.5),
        "trained_parameters": trained,
    }
    provenance = {"hardware": {"processor": "CPU"}, "threads": 1}
    return results.complete(of, {"label": "?"}, provenance, {"summary": summary})


def rows(*cells: TimingCell) -> dict[str, tuple[str, ...]]:
    records = [record(of, trained=1234 if of.editor == "recipe" else None) for of in cells]
    table = view(TABLE, [*cells, cell("mend")], records).text
    return {row[2]: row for row in table.rows}


def test_times_stand_beside_the_published_ones() -> None:
    shown = rows(cell(None), cell("recipe"))
    assert shown["RECIPE"][3] == "0.4000 [0.2000, 0.8000] (0.0078)"
    assert shown["RECIPE"][5] == "1.25x"
    assert shown["RECIPE"][6] == "0.0500 [0.0250, 0.1000]"
    assert shown["RECIPE"][7] == "0.5000 (0.0676)"  # of both medians
    assert shown["RECIPE"][9] == "1,234"
    assert shown["unedited"][3:5] == ("-", "0.1000 [0.0500, 0.2000]")
    assert shown["unedited"][7] == "-"
    assert shown["MEND"][3] == "- (0.0987)"


def test_csv_has_the_quartiles() -> None:
    of = cell("recipe")
    text = to_csv(view(TABLE, [of], [record(of)]))
    assert "3,mini-llama,10,RB,RECIPE,,edit_time_s,0.400000,,1,LLAMA-2-7B,0.0078" in text


def test_a_timing_record_is_read_back(tmp_path: Path) -> None:
    store, of = ResultStore(tmp_path), cell("recipe")
    store.write(record(of))
    stored = store.lookup(of)
    assert stored is not None
    assert identity_of(stored["cell"]) == of
    assert identity_of(stored["cell"]).key() != cell("recipe", 11).key()


def test_options_of_other_tables_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--table", "3", "--limit", "5"]) == 2
    assert "Table 3 takes no --limit: it measures times." in capsys.readouterr().err


def test_for_claims_an_inference_is_its_overhead_times_the_unedited_models() -> None:
    cells = [cell(None), cell("recipe")]
    by_place = values(TABLE, cells, [record(of) for of in cells])
    by_metric = {(place.editor, place.metric): value for place, value in by_place.items()}
    assert by_metric["N/A", "infer_time_s"] == pytest.approx(0.1)
    assert by_metric["RECIPE", "infer_time_s"] == pytest.approx(0.125)
    assert by_metric["RECIPE", "total_time_s"] == pytest.approx(0.525)
    assert ("N/A", "total_time_s") not in by_metric


def test_a_device_is_part_of_a_cell_and_named_in_the_table() -> None:
    on_cpu, on_gpu = cell("ft"), replace(cell("ft"), device="cuda")
    assert "device" not in on_cpu.to_dict()
    assert on_gpu.key() != on_cpu.key()
    assert identity_of(on_gpu.to_dict()) == on_gpu
    assert identity_of(on_cpu.to_dict()) == on_cpu
    timed = record(on_gpu)
    timed["provenance"]["hardware"]["accelerator"] = "Some GPU"
    assert machine_of(timed) == "Some GPU, 1 thread"
    assert machine_of(record(on_cpu)) == "CPU, 1 thread"
