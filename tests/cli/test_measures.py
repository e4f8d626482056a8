"""Optional metric sets on the command line, on a tiny model and made data."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.core.cells import Cell
from bench.core.grids import TABLES
from bench.runner.stored import stored_with_sets
from bench.store.exchange import problems_in
from bench.store.results import Record, ResultStore
from bench.tables.editing import merged, view_of_set
from bench.tables.render import to_csv
from tests.cli.commands import tables_arguments
from tests.report.plots.records import record

QUICK = ("--measure", "distance,retention")


def written(name: str) -> list[dict[str, str]]:
    with Path(f"out/tables/table1_{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def cells_of(pattern: str = "*.json") -> list[Cell]:
    texts = [path.read_text("utf-8") for path in sorted(Path("out").glob(pattern))]
    return [Cell.from_dict(json.loads(text)["cell"]) for text in texts]


def test_run_prints_a_table_of_each_set_and_tables_prints_it_again(
    run_arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    one = [*run_arguments, "--editors", "ft", "--edits", "2"]
    assert main(one) == 0
    capsys.readouterr()
    plain = cells_of()
    assert main([*one, *QUICK]) == 0
    printed = capsys.readouterr().out
    assert "Table 1, distance: agreement" in printed
    assert "Table 1, retention: reliability" in printed
    both = cells_of()
    assert len(both) == 2 * len(plain)
    assert {cell.key() for cell in plain} < {cell.key() for cell in both}
    assert all(not found for _, found in problems_in(ResultStore(Path("out"))))
    rows = written("distance")
    assert {row["protocol"] for row in rows} == {"zsre/blocks/v1", "counterfact/blocks/v1"}
    values = {(row["dataset"], row["metric"]): row["value"] for row in rows}
    assert values["ZSRE", "unrelated"] != ""
    assert values["ZSRE", "same relation"] == ""
    assert values["CF", "same relation"] != ""
    before = written("retention")
    for path in Path("out/tables").glob("table1_*"):
        path.unlink()
    ask = tables_arguments(one)
    assert main([*ask, "--measure", "retention"]) == 0  # of cells that have two sets
    assert "Table 1, retention: reliability" in capsys.readouterr().out
    assert written("retention") == before
    assert not Path("out/tables/table1_distance.csv").exists()
    assert main([*ask, "--measure", "retention", "--protocol", "blocks/v1"]) == 0
    assert written("retention") == before
    assert main([*ask, "--measure", "retention", "--markdown"]) == 0
    assert "| n | Type | Editor | ZSRE Rel 0 |" in capsys.readouterr().out
    assert main(ask) == 0  # and the ordinary table counts no sample twice
    assert "One seed (0)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--measure", "collapse"], "--measure-text PATH"),
        (["--measure", "retention", "--table", "4"], "Table 4 takes no --measure"),
        (["--measure-text", "x.txt"], "--measure-text is the text of --measure collapse alone."),
        (["--measure", "retention", "--measure-text", "x.txt"], "of --measure collapse alone."),
    ],
)
def test_what_cannot_be_measured_is_refused(
    run_arguments: list[str],
    more: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [word for word in run_arguments if word not in ("--editors", "ft,grace")]
    assert main([*arguments, *more]) == 2
    assert sentence in capsys.readouterr().err


def test_an_unknown_set_is_refused_with_the_nearest_name(
    run_arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*run_arguments, "--measure", "retentoin"]) == 2
    assert "Did you mean 'retention'" in capsys.readouterr().err


@pytest.mark.parametrize("table", ["2", "3"])
@pytest.mark.parametrize("option", ["--measure=retention", "--measure-text=x.txt"])
def test_other_tables_have_no_sets(
    table: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--table", table, option]) == 2
    assert f"Table {table} takes no {option.partition('=')[0]}: " in capsys.readouterr().err


def test_a_plan_does_not_pass_over_the_cost_of_sets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--table", "1", "--measure", "retention"]) == 2
    assert "leave --measure out" in capsys.readouterr().err


def test_a_view_of_the_ordinary_scores_has_no_sets(
    run_arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ask = tables_arguments(run_arguments)
    assert main([*ask, "--measure", "retention", "--averages"]) == 2
    assert "--measure has tables of its own and takes no --averages." in capsys.readouterr().err
    assert main([*ask, "--measure", "retention"]) == 2
    assert "No record in out belongs to this selection" in capsys.readouterr().err


def test_the_committed_reference_has_no_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tables", "--table", "1", "--reference", "--measure", "retention"]) == 2
    assert "has no cell of this selection" in capsys.readouterr().err


def with_distance(seed: int, value: float, **changes: str) -> Record:
    one = record("ft", seed=seed, measures={"distance": "v1", **changes})
    group = {"source": "data", "items": 4, "token_accuracy": value, "exact": value}
    one["summary"]["measures"] = {"distance": {"groups": {"unrelated": group}}}
    return one


def test_a_table_has_mean_and_spread_over_seeds_and_whole_counts() -> None:
    records = [with_distance(0, 0.5), with_distance(1, 1.0)]
    cells = [Cell.from_dict(one["cell"]) for one in records]
    found = view_of_set("distance", TABLES[1], cells, records)
    text = found.text
    (row,) = text.rows
    shown = dict(zip(text.columns, row, strict=True))
    assert shown["ZSRE unrelated"] == "75.00±35.36"
    assert shown["ZSRE n unrelated"] == "4"
    assert shown["ZSRE same pair"] == "-"
    assert "10,MP,FT,ZSRE,unrelated,75.00,35.36,2,zsre/blocks/v1" in to_csv(found)


def test_sets_of_other_protocols_share_no_table() -> None:
    records = [with_distance(0, 0.5), with_distance(1, 1.0)]
    cells = [Cell.from_dict(one["cell"]) for one in records]
    cells[1] = dataclasses.replace(cells[1], metric_version=2)
    with pytest.raises(ValueError, match="never share a column"):
        view_of_set("distance", TABLES[1], cells, records)


def test_the_record_with_the_fewest_sets_is_taken() -> None:
    wide = with_distance(0, 0.5, retention="v1", collapse="v1")
    narrow = with_distance(0, 0.5, retention="v1")
    other = with_distance(0, 0.5, retention="v2")
    wanted = Cell.from_dict(with_distance(0, 0.5)["cell"])
    both = dataclasses.replace(wanted, measures={"distance": "v1", "retention": "v1"})
    (found,) = stored_with_sets([both], [wide, other, narrow])
    assert found.key() == narrow["key"]
    (found,) = stored_with_sets([both], [other])
    assert found == both


def test_columns_of_longer_streams_come_among_the_others() -> None:
    assert merged(["Rel 0", "Rel 1", "Rel end"], ["Rel 0", "Rel 1", "Rel 10", "Rel end"]) == [
        "Rel 0",
        "Rel 1",
        "Rel 10",
        "Rel end",
    ]
    assert merged([], ["a", "b"]) == ["a", "b"]
