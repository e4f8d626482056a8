from __future__ import annotations

import csv
import dataclasses
import io
from typing import Any

import pytest

from bench.core.config import Scoring
from bench.core.grids import get_table
from bench.evaluation.record_kinds import AbilityCell
from bench.store import results
from bench.store.results import Record
from bench.tables.general_ability import view
from bench.tables.render import latex, markdown, to_csv
from bench.tables.table import View
from tests.evaluation.test_record_kinds import CELL, STREAM, UNEDITED

TABLE = get_table(2)


def cell(editor: str, *, n_edits: int = 1000, seed: int = 0) -> AbilityCell:
    edits = dataclasses.replace(STREAM, editor=editor, n_edits=n_edits, seed=seed, hparams={})
    return dataclasses.replace(CELL, edits=edits)


def record(of: AbilityCell, *scores: float, effect: float | None = 1.0) -> Record:
    names = ("csqa", "mmlu", "anli", "squad2")
    tasks: dict[str, dict[str, Any]] = {
        name: {"questions": 1200, "score": score, "macro": 0.25}
        for name, score in zip(names, scores, strict=True)
    }
    tasks["squad2"] |= {"f1": 0.5, "exact": 0.4}
    body = {
        "data": {"source": "embedded world 0"},
        "summary": {"tasks": tasks, "average": sum(scores) / 4},
        "health": [] if of.edits is None else [{"effect": effect, "diverged_at": None}],
    }
    return results.complete(of, {}, {}, body)


@pytest.fixture
def data() -> View:
    """GRACE over two seeds, RECIPE over one, FT not run, at 1,000 edits; GRACE alone at 10."""
    cells = [UNEDITED, cell("ft"), cell("grace"), cell("grace", seed=1), cell("recipe")]
    cells.append(cell("grace", n_edits=10))
    done = [
        record(UNEDITED, 0.9, 0.9, 0.9, 0.9),
        record(cells[2], 0.5, 0.4, 0.3, 0.2),
        record(cells[3], 0.7, 0.4, 0.3, 0.2, effect=0.0),
        record(cells[4], 0.6, 0.5, 0.2, 0.2),
        record(cells[5], 0.1, 0.1, 0.1, 0.1),
    ]
    return view(TABLE, cells, done)


def texts(data: View, row: int) -> dict[str, str]:
    table = data.text
    return dict(zip(table.columns, table.rows[row], strict=True))


def test_rows_are_the_unedited_model_and_the_editors_by_number_of_edits(data: View) -> None:
    table = data.text
    assert [row[:4] for row in table.rows] == [
        ("0", "-", "-", "unedited"),
        ("1,000", "ZSRE", "MP", "FT"),
        ("1,000", "ZSRE", "RB", "GRACE"),
        ("1,000", "ZSRE", "RB", "RECIPE"),
        ("10", "ZSRE", "RB", "GRACE"),
    ]
    assert table.breaks == (1, 4)


@pytest.mark.parametrize("scoring", ["lm-eval", "promptbench"])
def test_scores_of_libraries_do_not_stand_beside_the_papers(scoring: Scoring) -> None:
    cells = [dataclasses.replace(of, scoring=scoring) for of in (UNEDITED, cell("grace"))]
    done = [record(of, 0.5, 0.4, 0.3, 0.2) for of in cells]
    if scoring == "promptbench":
        for stored in done:
            for task in stored["summary"]["tasks"].values():
                task["spread"] = 0.1
    shown = view(TABLE, cells, done)
    assert texts(shown, 0)["CSQA"].startswith("50.00")
    assert not any(number.published for number in shown.numbers)
    assert "(" not in texts(shown, 1)["CSQA"]
    assert any("of another scoring and are not shown" in line for line in shown.caption)


def test_numbers_stand_beside_the_published_ones(data: View) -> None:
    assert texts(data, 0)["CSQA"] == "90.00 (38.91)"
    assert texts(data, 0)["Avg"] == "90.00 (37.73)"
    assert texts(data, 1)["MMLU"] == "- (29.93)"  # not run
    assert texts(data, 2)["CSQA"] == "60.00±14.14† (38.60)"
    assert texts(data, 3)["SQUAD-2"] == "20.00 (36.50)"
    assert texts(data, 3)["SQUAD-2 F1"] == "50.00"
    assert texts(data, 4)["CSQA"] == "10.00"  # the paper has 1,000 edits only


def test_the_unedited_row_never_competes(data: View) -> None:
    table = data.text
    marked = {(table.rows[row][3], table.columns[column]) for row, column in table.best}
    tied = {(label, c) for label in ("GRACE", "RECIPE") for c in table.columns[4:]}
    # 60 to 60, 40 to 50, 30 to 20; the rest is equal, Avg too: (60+40+30+20) / 4 = 37.5.
    assert marked == tied - {("GRACE", "MMLU"), ("RECIPE", "ANLI")}
    assert "**50.00 (41.40)**" in markdown(table)
    assert r"\textbf{50.00 (41.40)}" in latex(table)
    assert "**90.00" not in markdown(table)


def test_the_caption_says_what_the_numbers_are(data: View) -> None:
    caption = " ".join(data.caption)
    for words in (
        "after 10 and 1,000 sequential edits of ZSRE (embedded world 0)",
        "Measured on mini-llama (float32)",
        "questions of embedded world 0: CSQA 1,200, MMLU 1,200, ANLI 1,200, SQUAD-2 1,200 (all",
        "published value on LLAMA-2-7B, another backbone",
        "Harness ours, scoring paper",
        "wording, version 1",
        "over up to 2 seeds (0, 1)",
        "† GRACE at 1,000 on ZSRE: no effect (seed 1).",
    ):
        assert words in caption


def test_csv_has_one_line_per_number(data: View) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(data))))
    assert len(rows) == 5 * 8
    grace = next(r for r in rows if r["editor"] == "GRACE" and r["dataset"] == "CSQA")
    assert (grace["value"], grace["std"], grace["seeds"]) == ("60.00", "14.14", "2")
    assert (grace["edit_set"], grace["harness"], grace["scoring"]) == ("ZSRE", "ours", "paper")
    assert grace["published_value"] == "38.60"
    macro = next(r for r in rows if r["metric"] == "macro")
    assert (macro["dataset"], macro["value"]) == ("MMLU", "25.00")


def test_a_table_without_records_is_all_dashes() -> None:
    data = view(TABLE, [UNEDITED, cell("ft")], [])
    assert texts(data, 0)["CSQA"] == "- (38.91)"
    assert data.text.best == frozenset()
