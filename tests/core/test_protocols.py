"""Numbers of different protocols never share a column, a mean, a test or a figure."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from bench.checks.regression.evidence import values
from bench.cli.main import main
from bench.core.cells import Cell, of_protocol, way_of
from bench.core.grids import TABLES
from bench.evaluation import metrics
from bench.evaluation.general_ability import scoring
from bench.report.plots import edit_time, edits, retention
from bench.store.results import DamagedRecordError, Record, encoded, parse, protocol_of, sealed
from bench.tables.correlation import correlations
from bench.tables.editing import view
from tests.evaluation.test_record_kinds import CELL as ABILITY_CELL
from tests.support.records import record, source, write_lines
from tests.support.stored_records import everything, released, timing

TABLE = TABLES[1]
OTHER: list[dict[str, Any]] = [
    {"metric_version": 2},
    {"protocol": "single"},
    {"scoring_time": "edit_end"},
    {"batch_per_step": 10},
    {"varies": "training"},
    {"generation": "context_guided"},
]


def cell_of(stored: Record) -> Cell:
    return Cell.from_dict(stored["cell"])


def test_records_of_every_kind_and_age_have_an_id() -> None:
    ids = [protocol_of(stored) for stored in everything()]
    newest = dataclasses.replace(ABILITY_CELL, protocol_version=scoring.PROTOCOL_VERSION)
    assert ids[2] == newest.protocol_id
    version = timing()["cell"]["timing_version"]
    assert ids[3].endswith(f"/times/v{version}")
    data = [stored["cell"].get("dataset") for stored in everything()]
    wanted = {i: f"{data[i]}/blocks/v{metrics.PROTOCOL_VERSION}" for i in (0, 1, 4)}
    assert {i: ids[i] for i in wanted} == wanted
    assert ABILITY_CELL.protocol_id.startswith("zsre/ability-paper+version-")
    unedited = dataclasses.replace(ABILITY_CELL, edits=None).protocol_id
    assert unedited.startswith("unedited/ability-paper+version-")
    assert way_of(unedited) == way_of(ABILITY_CELL.protocol_id)


def test_a_record_that_names_another_protocol_than_its_cell_is_damaged() -> None:
    old = released(2)
    assert "protocol" not in old
    parse(encoded(old), "old")
    wrong = encoded(sealed(old | {"protocol": "zsre/blocks/v2"}))
    with pytest.raises(DamagedRecordError, match="names another protocol"):
        parse(wrong, "wrong")


@pytest.mark.parametrize("change", OTHER)
def test_no_mean_mixes_records_that_differ_in_protocol_alone(change: dict[str, Any]) -> None:
    records = [record("ft", score=0.2), record("ft", score=0.8, seed=1, **change)]
    cells = [cell_of(stored) for stored in records]
    with pytest.raises(ValueError, match="never share a column") as error:
        view(TABLE, cells, records)
    for cell in cells:
        assert cell.protocol_id in str(error.value)
    with pytest.raises(ValueError, match="never share a column"):
        values(TABLE, cells, records)
    for figure in (edits, retention, edit_time):
        with pytest.raises(ValueError, match="never share a column"):
            figure.build(source(records))


def test_each_protocol_alone_has_its_own_mean() -> None:
    records = [record("ft", score=0.2), record("ft", score=0.8, seed=1, metric_version=2)]
    cells = [cell_of(stored) for stored in records]
    for wanted, mean, seeds in (("blocks/v1", 20.0, 1), ("zsre/blocks/v2", 80.0, 1)):
        data = view(TABLE, of_protocol(cells, wanted), records)
        spread = next(n.ours for n in data.numbers if n.metric == "Rel")
        assert spread is not None
        assert spread.mean == pytest.approx(mean)
        assert spread.n == seeds


def test_tests_and_correlations_see_one_protocol_alone() -> None:
    ours = [record(e, score=s, seed=seed) for seed in (0, 1) for e, s in PAIRS[seed]]
    others = [record(e, score=0.0, seed=seed, metric_version=2) for seed in (2, 3) for e in EDITORS]
    cells = [cell_of(stored) for stored in [*ours, *others]]
    chosen = of_protocol(cells, "blocks/v1")
    mixed, pure = view(TABLE, chosen, [*ours, *others]), view(TABLE, chosen, ours)
    assert mixed.comparisons == pure.comparisons
    assert {pair.seeds for pair in mixed.comparisons} == {2}
    assert list(correlations(mixed)) == list(correlations(pure))


EDITORS = ("ft", "rome", "recipe")
PAIRS = (
    [("ft", 0.1), ("rome", 0.2), ("recipe", 0.9)],
    [("ft", 0.2), ("rome", 0.1), ("recipe", 0.8)],
)


def test_a_figure_of_one_protocol_among_several(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [record("ft", score=0.2), record("ft", score=0.8, seed=1, metric_version=2)]
    write_lines(tmp_path / "from" / "x.jsonl", records)
    given = ["figures", "--figure", "edits", "--from", str(tmp_path / "from"), "--out"]
    assert main([*given, str(tmp_path / "out")]) == 2
    assert "never share a column" in capsys.readouterr().err
    assert main([*given, str(tmp_path / "out"), "--protocol", "blocks/v2"]) == 0
    first, *_ = (tmp_path / "out/edits.csv").read_text("utf-8").splitlines()[1:]
    assert first == "measured,mini-llama,ZSRE,MP,FT,10,86.6667,,1,,zsre/blocks/v2"
