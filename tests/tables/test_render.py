from __future__ import annotations

import csv
import dataclasses
import io
import subprocess
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from bench.core.cells import Cell
from bench.core.grids import Selection, get_table
from bench.runner.planning import points
from bench.store import results
from bench.store.results import Record
from bench.tables.columns import SHOWN
from bench.tables.layout import TextTable, by_dataset, by_kind
from bench.tables.render import latex, markdown, terminal, to_csv, write_table
from bench.tables.tabulate import TableData, tabulate
from tests.core.test_cells import CELL

TABLE = get_table(1)


def cell(editor: str, dataset: str, n_edits: int, seed: int) -> Cell:
    return dataclasses.replace(
        CELL, editor=editor, dataset=dataset, n_edits=n_edits, seed=seed, limit=50
    )


def record(
    of: Cell,
    *,
    rel: float,
    gen: float,
    loc: float,
    honest: float = 0.0,
    diverged_at: int | None = None,
) -> Record:
    main = {"reliability": rel, "generality": gen, "locality": loc}
    scores = {
        "teacher_forced": {"token_accuracy": main | {"average": (rel + gen + loc) / 3}},
        "prompt_only": {"token_accuracy": {"average": honest}},
    }
    kinds = {"generality/Subject_Aliasing": gen, "locality/Relation_Specificity": loc}
    facts = {"label": "?", "family": "?", "retrieves_text": of.editor == "recipe"}
    effect = 1.0 if diverged_at is None else None
    body: dict[str, Any] = {
        "health": [{"block": 0, "effect": effect, "diverged_at": diverged_at}],
        "summary": {
            "scores": {"before": {}, "after": scores},
            "kinds": {"after": {"teacher_forced": {"token_accuracy": kinds}}},
        },
    }
    return results.complete(of, facts, {}, body)


@pytest.fixture
def data() -> TableData:
    """FT on two sets over two seeds, RECIPE on one set and one seed, at 1 edit; FT not at 10."""
    cells = [cell("ft", d, 1, s) for d in ("zsre", "ripple_edits") for s in (0, 1)]
    cells += [cell("recipe", d, 1, s) for d in ("zsre", "ripple_edits") for s in (0, 1)]
    cells += [cell("ft", "zsre", 10, s) for s in (0, 1)]
    done = [
        record(cells[0], rel=0.5, gen=0.4, loc=0.9),
        record(cells[1], rel=0.7, gen=0.6, loc=0.8),
        record(cells[2], rel=0.1, gen=0.2, loc=0.3),
        record(cells[4], rel=1.0, gen=0.98, loc=0.99, honest=0.875),
    ]
    return tabulate(TABLE, cells, done)


def texts(table: TextTable, row: int) -> dict[str, str]:
    return dict(zip(table.columns, table.rows[row], strict=True))


def test_editors_of_later_papers_have_a_mark_and_a_sentence(data: TableData) -> None:
    cells = [cell(editor, "zsre", 1, 0) for editor in ("ft", "rag")]
    table = by_dataset(tabulate(TABLE, cells, [record(c, rel=1, gen=1, loc=1) for c in cells]))
    assert [row[2] for row in table.rows] == ["FT", "RAG \u00a7"]
    assert r"RAG \S{}" in latex(table)
    assert table.caption[-1] == "\u00a7 Not in the paper's tables."
    assert not any("\u00a7" in line for line in by_dataset(data).caption)


def test_mean_and_sample_deviation_over_seeds_in_percent(data: TableData) -> None:
    values = data.entries[1, "ft", "zsre"].values
    assert (values["Rel"].mean, values["Rel"].std) == pytest.approx((60.0, 14.142136))
    assert values["Avg"].mean == pytest.approx(65.0)  # of 60 and 70
    assert values["Avg"].std == pytest.approx(7.0710678)


def test_rows_and_columns_are_the_papers(data: TableData) -> None:
    table = by_dataset(data)
    assert [row[:3] for row in table.rows] == [
        ("1", "MP", "FT"),
        ("1", "RB", "RECIPE"),
        ("10", "MP", "FT"),
    ]
    assert table.breaks == (2,)
    assert [heading for heading, _ in table.groups] == ["", "ZSRE", "RIPE"]


def test_the_published_value_stands_beside_ours(data: TableData) -> None:
    row = texts(by_dataset(data), 0)
    assert row["ZSRE Rel"] == "60.00±14.14 (47.86)"
    assert row["ZSRE Avg"] == "65.00±7.07 (61.44±1.00)"
    assert row["RIPE Rel"] == "10.00 (41.54)"


def test_prompt_only_is_shown_for_retrieval_editors_alone(data: TableData) -> None:
    table = by_dataset(data)
    assert texts(table, 0)["ZSRE P-only"] == "-"
    assert texts(table, 1)["ZSRE P-only"] == "87.50"


def test_what_was_not_run_is_a_dash_beside_the_published_value(data: TableData) -> None:
    table = by_dataset(data)
    assert texts(table, 1)["RIPE Gen"].startswith("- (")
    assert texts(table, 2)["ZSRE Rel"].startswith("- (")
    assert texts(table, 2)["RIPE P-only"] == "-"


def test_the_caption_says_what_the_numbers_are(data: TableData) -> None:
    caption = " ".join(by_dataset(data).caption)
    for words in (
        "Measured on mini-llama (float32)",
        "ZSRE (embedded world 0)",
        "published value on LLAMA-2-7B",
        "compare shapes, not values",
        "metric protocol 1",
        "50 at 1, 50 at 10",
        "over up to 2 seeds (0, 1)",
    ):
        assert words in caption


def test_an_editor_that_diverged_is_named_beside_its_numbers() -> None:
    cells = [cell("ft", "zsre", 10, seed) for seed in (0, 1)]
    cells.append(cell("recipe", "zsre", 10, 0))
    done = [record(c, rel=0.5, gen=0.5, loc=0.5) for c in cells]
    done[1] = record(cells[1], rel=0.1, gen=0.0, loc=0.0, diverged_at=7)
    data = tabulate(TABLE, cells, done)
    table = by_dataset(data)
    assert texts(table, 0)["ZSRE Rel"].startswith("30.00±28.28† (")
    assert "†" not in texts(table, 1)["ZSRE Rel"]
    assert table.caption[-1] == "† FT at 10 on ZSRE: diverged at edit 7 (seed 1)."
    assert table.caption[-1] == by_kind(data).caption[-1]
    rows = list(csv.DictReader(io.StringIO(to_csv(data))))
    assert {row["remark"] for row in rows if row["editor"] == "FT"} == {
        "diverged at edit 7 (seed 1)"
    }
    assert {row["remark"] for row in rows if row["editor"] == "RECIPE"} == {""}
    assert r"$\dagger$" in latex(table)


def test_records_of_earlier_versions_say_nothing_of_health() -> None:
    old = record(cell("ft", "zsre", 1, 0), rel=0.5, gen=0.4, loc=0.9)
    del old["health"]
    assert tabulate(TABLE, [cell("ft", "zsre", 1, 0)], [old]).entries[1, "ft", "zsre"].remarks == ()


def test_by_type_shows_the_types_of_probe_of_one_set(data: TableData) -> None:
    table = by_kind(data)
    assert table.columns[3:] == (
        "RIPE Logical Generalization",
        "RIPE Compositionality I",
        "RIPE Compositionality II",
        "RIPE Subject Aliasing",
        "RIPE Relation Specificity",
        "RIPE Forgetfulness",
    )
    assert table.rows[0][3:] == ("-", "-", "-", "20.00", "30.00", "-")
    assert set(table.rows[1][3:]) == {"-"}
    assert not any("published" in sentence for sentence in table.caption)


def test_markdown_is_a_rectangle(data: TableData) -> None:
    lines = [line for line in markdown(by_dataset(data)).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 3
    assert {line.count("|") for line in lines} == {3 + 2 * 5 + 1}
    assert "| 1 | MP | FT | 60.00±14.14 (47.86) |" in lines[2]


def test_latex_is_balanced_and_escaped(data: TableData) -> None:
    text = latex(by_dataset(data))
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    assert text.count(r"\midrule") == 2  # below the head, and between the numbers of edits
    assert r"60.00$\pm$14.14 (47.86)" in text
    rows = [
        line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line
    ]
    assert {row.count("&") for row in rows} == {3 + 2 * 5 - 1}
    assert r"average, in percent." in text


def test_csv_has_one_line_per_number(data: TableData) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(data))))
    assert len(rows) == 3 * 2 * 5
    first = rows[0]
    assert (first["editor"], first["dataset"], first["metric"]) == ("FT", "ZSRE", "Rel")
    assert (first["value"], first["std"], first["seeds"]) == ("60.00", "14.14", "2")
    assert (first["backbone"], first["published_backbone"]) == ("mini-llama", "LLAMA-2-7B")
    assert first["published_value"] == "47.86"
    assert rows[-1]["value"] == ""


def test_terminal_tables_hold_every_text(data: TableData) -> None:
    from rich.console import Console

    console = Console(width=200, file=io.StringIO())
    with console.capture() as capture:
        for one in terminal(by_dataset(data)):
            console.print(one)
    printed = capture.get()
    for row in by_dataset(data).rows:
        assert all(text in printed for text in row)


def test_three_files_are_written_and_nothing_else(data: TableData, tmp_path: Path) -> None:
    paths = write_table("table1", by_dataset(data), to_csv(data), tmp_path / "tables")
    assert sorted(p.name for p in paths) == ["table1.csv", "table1.md", "table1.tex"]
    assert sorted((tmp_path / "tables").iterdir()) == sorted(paths)


def over_seeds(**averages: tuple[float, ...]) -> TableData:
    """Editors on ZSRE at 10 edits, one average in [0, 1] per seed."""
    cells = {
        (editor, seed): cell(editor, "zsre", 10, seed)
        for editor, values in averages.items()
        for seed in range(len(values))
    }
    done = [
        record(
            of, rel=averages[editor][seed], gen=averages[editor][seed], loc=averages[editor][seed]
        )
        for (editor, seed), of in cells.items()
    ]
    return tabulate(TABLE, [*cells.values()], done)


def test_the_best_numbers_are_bold_and_a_significant_lead_is_marked() -> None:
    data = over_seeds(
        ft=(0.5, 0.6, 0.7, 0.8, 0.9), recipe=(0.51, 0.61, 0.71, 0.82, 0.91)
    )  # differences 1, 1, 1, 2, 1 points: t = 6, p = 0.004
    table = by_dataset(data)
    assert table.best == {(1, column) for column in range(3, 7)}
    assert texts(table, 1)["ZSRE Avg"] == "71.20±15.97\u2021 (99.31±0.43)"
    assert texts(table, 1)["ZSRE Rel"] == "71.20±15.97 (99.11)"
    assert "| **71.20±15.97 (99.11)** |" in markdown(table)
    assert r"$\ddagger$" in latex(table)
    assert "p < 0.05 after Holm's correction of 1 tests" in " ".join(table.caption)


def test_a_lead_that_may_be_chance_is_not() -> None:
    data = over_seeds(ft=(0.5, 0.9, 0.7), recipe=(0.6, 0.8, 0.9))
    assert "\u2021" not in texts(by_dataset(data), 1)["ZSRE Avg"]


def test_one_seed_is_not_tested() -> None:
    table = by_dataset(over_seeds(ft=(0.5,), recipe=(0.6,)))
    assert "Significance is not tested" in " ".join(table.caption)


def test_equal_numbers_are_best_together_and_a_single_editor_is_not() -> None:
    assert {row for row, _ in by_dataset(over_seeds(ft=(0.5,), recipe=(0.5,))).best} == {0, 1}
    assert by_dataset(over_seeds(ft=(0.5,))).best == frozenset()


def test_another_metric_stands_without_published_numbers() -> None:
    of = cell("ft", "zsre", 1, 0)
    made = record(of, rel=0.5, gen=0.5, loc=0.5)
    scores = made["summary"]["scores"]["after"]["teacher_forced"]
    scores["exact"] = dict.fromkeys(scores["token_accuracy"], 0.25)
    made["summary"]["kinds"]["after"]["teacher_forced"]["exact"] = {}
    table = by_dataset(tabulate(TABLE, [of], [made], SHOWN["exact"]))
    assert texts(table, 0)["ZSRE Rel"] == "25.00"
    assert "Teacher-forced exact match" in " ".join(table.caption)
    assert "The paper prints no such numbers." in " ".join(table.caption)


def test_records_without_generated_answers_count_as_missing() -> None:
    of = cell("ft", "zsre", 1, 0)
    data = tabulate(TABLE, [of], [record(of, rel=1, gen=1, loc=1)], SHOWN["generated"])
    assert texts(by_dataset(data), 0)["ZSRE Rel"] == "-"


TEX = next((name for name in ("pdflatex", "lualatex", "xelatex", "tectonic") if which(name)), None)


@pytest.mark.skipif(TEX is None, reason="no TeX engine")
def test_latex_compiles(data: TableData, tmp_path: Path) -> None:
    parts = (r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}")
    document = "\n".join((*parts, latex(by_dataset(data)), r"\end{document}"))
    (tmp_path / "table.tex").write_text(document, encoding="utf-8")
    options = [] if TEX == "tectonic" else ["-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run(
        [str(TEX), *options, "table.tex"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "table.pdf").stat().st_size > 1000


def test_a_variant_has_a_row_beside_its_editor_and_competes_with_nobody() -> None:
    plain, other = cell("recipe", "zsre", 10, 0), cell("recipe", "zsre", 10, 0)
    other = dataclasses.replace(other, hparams={"inject": "gptj_ln1"})
    cells = [cell("ft", "zsre", 10, 0), plain, other]
    scores = (0.5, 0.6, 0.9)
    made = [record(of, rel=s, gen=s, loc=s) for of, s in zip(cells, scores, strict=True)]
    data = tabulate(get_table(5), cells, made)
    table = by_dataset(data)
    assert [row[2] for row in table.rows] == ["FT", "RECIPE", "RECIPE (gptj_ln1)"]
    assert texts(table, 2)["ZSRE Rel"] == "90.00"  # nothing is published of it
    assert {row for row, _ in table.best} == {1}
    assert {label for _, label, _ in data.averages} == {"FT", "RECIPE"}
    assert "RECIPE (gptj_ln1): RECIPE with the released code's injection" in " ".join(table.caption)


def test_table_5_asks_for_both_injections_of_recipe_alone() -> None:
    found = points(get_table(5), Selection(editors=("recipe", "ft"), datasets=("cf",), edits=(1,)))
    assert [(point.editor, point.variant) for point in found] == [
        ("ft", None), ("recipe", None), ("recipe", "gptj-ln1"),
    ]  # fmt: skip
