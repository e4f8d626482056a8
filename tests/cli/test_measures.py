"""Optional metric sets on the command line, on a tiny model and invented data."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import pytest

from bench.core.cells import Cell
from bench.core.grids import TABLES
from bench.runner.stored import stored_with_sets
from bench.store.results import Record, ResultStore
from bench.store.verification import problems_in
from bench.tables.editing import merged, view_of_set
from bench.tables.render import to_csv
from tests.cli.commands import Cli, tables_arguments
from tests.support.records import record

QUICK = ("--measure", "distance,retention")


def written(name: str) -> list[dict[str, str]]:
    with Path(f"out/tables/table1_{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def cells_of(pattern: str = "*.json") -> list[Cell]:
    texts = [path.read_text("utf-8") for path in sorted(Path("out").glob(pattern))]
    return [Cell.from_dict(json.loads(text)["cell"]) for text in texts]


def test_run_and_tables_print_a_table_of_each_set(run_arguments: list[str], cli: Cli) -> None:
    run = [*run_arguments, "--editors", "ft", "--edits", "2"]
    assert cli(*run).code == 0
    plain = cells_of()
    printed = cli(*run, *QUICK).out
    assert "Table 1, distance: agreement" in printed
    assert "Table 1, retention: reliability" in printed
    both = cells_of()
    assert len(both) == 2 * len(plain)
    assert {cell.key() for cell in plain} < {cell.key() for cell in both}
    assert not any(problems for _, problems in problems_in(ResultStore(Path("out"))))
    rows = written("distance")
    assert {row["protocol"] for row in rows} == {"zsre/blocks/v2", "counterfact/blocks/v2"}
    values = {(row["dataset"], row["metric"]): row["value"] for row in rows}
    assert values["ZSRE", "unrelated"] != ""
    assert values["ZSRE", "same relation"] == ""
    assert values["CF", "same relation"] != ""
    before = written("retention")
    for path in Path("out/tables").glob("table1_*"):
        path.unlink()
    ask = tables_arguments(run)
    # Of cells that have two sets.
    assert "Table 1, retention: reliability" in cli(*ask, "--measure", "retention").out
    assert written("retention") == before
    assert not Path("out/tables/table1_distance.csv").exists()
    assert cli(*ask, "--measure", "retention", "--protocol", "blocks/v2").code == 0
    assert written("retention") == before
    pasted = cli(*ask, "--measure", "retention", "--markdown").out
    assert "| n | Type | Editor | ZSRE Rel 0 |" in pasted
    assert "One seed (0)" in cli(*ask).out  # the ordinary table counts no sample twice


def with_distance(seed: int, value: float, **changes: str) -> Record:
    measured = record("ft", seed=seed, measures={"distance": "v1", **changes})
    group = {"source": "data", "items": 4, "token_accuracy": value, "exact": value}
    measured["summary"]["measures"] = {"distance": {"groups": {"unrelated": group}}}
    return measured


def test_a_table_has_mean_and_spread_over_seeds_and_whole_counts() -> None:
    records = [with_distance(0, 0.5), with_distance(1, 1.0)]
    cells = [Cell.from_dict(measured["cell"]) for measured in records]
    seen = view_of_set("distance", TABLES[1], cells, records)
    (row,) = seen.text.rows
    shown = dict(zip(seen.text.columns, row, strict=True))
    assert shown["ZSRE unrelated"] == "75.00±35.36"
    assert shown["ZSRE n unrelated"] == "4"
    assert shown["ZSRE same pair"] == "-"
    assert "10,MP,FT,ZSRE,unrelated,75.00,35.36,2,zsre/blocks/v1" in to_csv(seen)


def test_sets_of_other_protocols_share_no_table() -> None:
    records = [with_distance(0, 0.5), with_distance(1, 1.0)]
    cells = [Cell.from_dict(measured["cell"]) for measured in records]
    cells[1] = dataclasses.replace(cells[1], metric_version=2)
    with pytest.raises(ValueError, match="never share a column"):
        view_of_set("distance", TABLES[1], cells, records)


def test_the_record_with_the_fewest_sets_is_taken() -> None:
    wide = with_distance(0, 0.5, retention="v1", collapse="v1")
    narrow = with_distance(0, 0.5, retention="v1")
    other = with_distance(0, 0.5, retention="v2")
    wanted = Cell.from_dict(with_distance(0, 0.5)["cell"])
    both = dataclasses.replace(wanted, measures={"distance": "v1", "retention": "v1"})
    (taken,) = stored_with_sets([both], [wide, other, narrow])
    assert taken.key() == narrow["key"]
    assert stored_with_sets([both], [other]) == [both]


def test_columns_of_longer_streams_come_among_the_others() -> None:
    longer = ["Rel 0", "Rel 1", "Rel 10", "Rel end"]
    assert merged(["Rel 0", "Rel 1", "Rel end"], longer) == longer
    assert merged([], ["a", "b"]) == ["a", "b"]
