"""Data sets of which a type of probe is absent: every command shows what there is, and a dash."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import bench
from tests.cli.commands import Cli, records
from tests.datasets.example_rows import counterfact_row, ripe_row, write
from tests.support.own_files import DATASET

ABSENT = {"rephrased": ("Gen", "Avg"), "unrelated": ("Loc", "Avg")}
ALL = (*ABSENT, "both")
VIEWS = ("", "--averages", "--by-type", "--correlate", "--significance", "--metric-loss",
         "--markdown", "--averages --markdown", "--metric exact", "--metric generated",
         "--export all.jsonl")  # fmt: skip


def own_data(folder: Path, absent: str) -> Path:
    """Capitals without some probes."""
    folder.mkdir()
    shutil.copy(DATASET, folder)
    row: dict[str, Any] = {
        "question": "The capital of {} is", "rephrased": ["It is governed from"],
        "unrelated": [{"question": "One and one make", "answer": "2"}],
    }  # fmt: skip
    row |= {name: [] for name in ABSENT if absent in (name, "both")}
    rows = [row | {"country": f"Land {i}", "answer": f"Town {i}"} for i in range(5)]
    (folder / "capitals.json").write_text(json.dumps(rows))
    return folder / DATASET.name


@pytest.fixture(params=ALL)
def selection(request: pytest.FixtureRequest, run_arguments: list[str], tmp_path: Path) -> Any:
    """(what is absent, the options of a run over CF and a data set that lacks it)."""
    data = own_data(tmp_path / "own", request.param)
    at = run_arguments.index("--data-dir")
    write(
        data.parent, "counterfact", "test", [counterfact_row(target_new=f"T{i}") for i in "abcde"]
    )
    options = [*run_arguments[1:at], "--data-dir", str(data.parent), *run_arguments[at + 2 :]]
    return request.param, [*options, "--datasets", f"cf,{data}", "--n-seeds", "2"]


def undefined(absent: str) -> tuple[str, ...]:
    return ABSENT.get(absent, ("Gen", "Loc", "Avg"))


@pytest.mark.slow
def test_every_command_shows_what_there_is(selection: tuple[str, list[str]], cli: Cli) -> None:
    absent, options = selection
    sentence = f"question was drawn; undefined: {', '.join(undefined(absent))}."
    said = cli("run", *options)
    assert said.code == 0
    assert sentence in said.out
    at = options.index("--jobs")
    shown = [*options[:at], *options[at + 2 :]]
    for view in VIEWS:
        said = cli("tables", *shown, *view.split())
        assert said.code == 0, (view, said.err)
        assert "CAPITALS" in said.out or view in ("--by-type", "--export all.jsonl"), view
    assert sentence in cli("tables", *shown, "--metric-loss").out
    with Path("out/tables/table1.csv").open() as file:
        lines = [line for line in csv.DictReader(file) if line["dataset"] == "CAPITALS"]
    empty = {line["metric"] for line in lines if not line["value"]} - {"Avg prompt_only"}
    assert empty == set(undefined(absent))
    for command in (
        "report --from out --out pages", "results list --out out", "results verify --out out",
        "results export x.jsonl --out out", "results import x.jsonl --out other",
        f"results show {records()[0]['key'][:12]} --out out",
        *(f"figures --figure {name} --from out --out drawn --backbone tiny"
          for name in ("edits", "retention", "time")),
    ):  # fmt: skip
        assert cli(*command.split()).code == 0, command
    assert "Traceback" not in said.err


def test_metric_sets_frames_and_figures_of_such_a_set_alone(
    selection: tuple[str, list[str]], cli: Cli
) -> None:
    absent, options = selection
    options = [*options, "--datasets", options[-3].split(",")[1]]
    measured = [*options, "--measure", "retention,conflicts,distance", "--editors", "ft"]
    assert cli("run", *measured).code == 0
    assert cli("results", "verify", "--out", "out").code == 0
    shown = bench.records("out")
    names = {"Gen": "generality", "Loc": "locality", "Avg": "average"}
    assert set(shown.aspect) == {"reliability", *names.values()} - {
        names[column] for column in undefined(absent)
    }
    for name in ("edits", "time"):
        said = cli("figures", "--figure", name, "--from", "out", "--backbone", "tiny")
        assert said.code == 2
        assert "No data set of the records has an average. Left out: CAPITALS: no " in said.err


@pytest.mark.parametrize("kind", ["Compositionality_I", "Relation_Specificity"])
def test_rows_of_ripe_without_a_question_can_be_all_that_is_drawn(
    kind: str, run_arguments: list[str], cli: Cli, tmp_path: Path
) -> None:
    write(tmp_path / "d", "ripple_edits", "test", [ripe_row(**{kind: []})])
    at = run_arguments.index("--data-dir")
    rest = [*run_arguments[:at], *run_arguments[at + 2 :], "--data-dir", str(tmp_path / "d")]
    said = cli(*rest, "--datasets", "ripe", "--edits", "1", "--limit", "1", "--editors", "ft")
    assert said.code == 0
    assert "RIPE: no " in said.out
