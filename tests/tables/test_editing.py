"""Tables 1, 5 and 6 from records, with means worked out by hand; every format of one."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import subprocess
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from rich.markup import escape

from bench.core.cells import Cell
from bench.core.config import RunConfig
from bench.core.grids import get_table
from bench.datasets.base import NO_SUBJECT
from bench.runner.planning import points
from bench.tables.editing import EMBEDDED_CAVEATS, EditingView, averages, by_kind, view
from bench.tables.render import latex, markdown, terminal, to_csv, write_table
from bench.tables.table import CSV_COLUMNS, METRIC_OPTIONS, TextTable
from editors import registry
from tests.support.records import cell, scored_record

TABLE = get_table(1)
HPARAMS = Path(__file__).parents[2] / "benchmarks" / "hparams"


@pytest.fixture
def shown() -> EditingView:
    """FT on two sets over two seeds, RECIPE on one set and one seed, at 1 edit; FT not at 10."""
    cells = [cell("ft", d, 1, s) for d in ("zsre", "ripple_edits") for s in (0, 1)]
    cells += [cell("recipe", d, 1, s) for d in ("zsre", "ripple_edits") for s in (0, 1)]
    cells += [cell("ft", "zsre", 10, s) for s in (0, 1)]
    done = [
        scored_record(cells[0], rel=0.5, gen=0.4, loc=0.9),
        scored_record(cells[1], rel=0.7, gen=0.6, loc=0.8),
        scored_record(cells[2], rel=0.1, gen=0.2, loc=0.3),
        scored_record(cells[4], rel=1.0, gen=0.98, loc=0.99, honest=0.875),
    ]
    return view(TABLE, cells, done)


def texts(table: TextTable, row: int) -> dict[str, str]:
    return dict(zip(table.columns, table.rows[row], strict=True))


def over_seeds(
    changes: Mapping[str, Any] | None = None, /, **scores: tuple[float, ...]
) -> EditingView:
    """Editors on ZSRE at 10 edits, one score in [0, 1] per seed; cells with these changes."""
    cells = partial(dataclasses.replace, **(changes or {}))
    done = [
        scored_record(cells(cell(editor, "zsre", 10, seed)), rel=score, gen=score, loc=score)
        for editor, values in scores.items()
        for seed, score in enumerate(values)
    ]
    return view(TABLE, [Cell.from_dict(record["cell"]) for record in done], done)


def test_mean_and_sample_deviation_over_seeds_in_percent(shown: EditingView) -> None:
    numbers = {n.metric: n for n in shown.numbers if (n.row.label, n.dataset) == ("FT", "ZSRE")
               and n.row.n_edits == 1}  # fmt: skip
    rel, avg = numbers["Rel"].ours, numbers["Avg"].ours
    assert rel is not None
    assert avg is not None
    assert (rel.mean, rel.std) == pytest.approx((60.0, 14.142136))
    assert (avg.mean, avg.std) == pytest.approx((65.0, 7.0710678))  # of 60 and 70
    assert numbers["Avg"].by_seed == pytest.approx({0: 60.0, 1: 70.0})


def test_one_seed_has_an_interval_and_several_have_none() -> None:
    done = scored_record(cell("ft", "zsre", 10, 0), rel=0.5, gen=0.4, loc=0.9)
    bounds = {"teacher_forced": {"token_accuracy": {"average": [0.5, 0.625]}}}
    for over, mark in (("blocks", ""), ("samples", "*")):
        record = {**done, "intervals": {"over": over, "scores": bounds}}
        shown = view(TABLE, [Cell.from_dict(done["cell"])], [record])
        assert texts(shown.text, 0)["ZSRE Avg"].startswith(f"60.00 [50.0, 62.5]{mark}")
        (line,) = [row for row in csv.DictReader(io.StringIO(to_csv(shown))) if row["low"]]
        assert (line["metric"], line["low"], line["high"]) == ("Avg", "50.00", "62.50")
        assert line["interval_over"] == over
        assert any("bootstrap interval (95 %)" in sentence for sentence in shown.caption)
    assert not any("bootstrap" in s for s in over_seeds(ft=(0.5, 0.6)).caption)


def test_editors_with_the_same_scores_are_named() -> None:
    same = over_seeds(wilke=(0.5, 0.6), rome=(0.5, 0.6), ft=(0.5, 0.61))
    sentences = [s for s in same.caption if "same scores" in s]
    assert sentences == ["ROME has the same scores as WILKE at n = 10."]
    assert not [s for s in over_seeds(rome=(0.5,), ft=(0.6,)).caption if "same scores" in s]


def test_the_trials_of_the_caption_are_those_of_the_search() -> None:
    search = json.loads((HPARAMS / "mini-llama.json").read_text("utf-8"))
    counts = Counter(registry.describe(trial["editor"]).label for trial in search["trials"])
    text = EMBEDDED_CAVEATS.partition("in 20 trials of FT and GRACE, ")[2].partition(";")[0]
    stated = {label: int(n) for n, label in (part.split(" of ") for part in text.split(", "))}
    assert stated | {"FT": 20, "GRACE": 20} == {
        label: n for label, n in counts.items() if label in (*stated, "FT", "GRACE")
    }
    assert EMBEDDED_CAVEATS in over_seeds(ft=(0.5,)).caption


def test_rows_and_columns_are_the_papers_beside_its_values(shown: EditingView) -> None:
    table = shown.text
    assert [row[:3] for row in table.rows] == [
        ("1", "MP", "FT"), ("1", "RB", "RECIPE"), ("10", "MP", "FT")
    ]  # fmt: skip
    assert table.breaks == (2,)
    assert [heading for heading, _ in table.groups] == ["", "ZSRE", "RIPE"]
    row = texts(table, 0)
    assert row["ZSRE Rel"] == "60.00±14.14 (47.86)"
    assert row["ZSRE Avg"] == "65.00±7.07 (61.44±1.00)"
    assert row["RIPE Rel"] == "10.00 (41.54)"


def test_what_was_not_run_is_a_dash_beside_the_published_value(shown: EditingView) -> None:
    assert texts(shown.text, 1)["RIPE Gen"].startswith("- (")
    assert texts(shown.text, 2)["ZSRE Rel"].startswith("- (")
    assert texts(shown.text, 2)["RIPE P-only"] == "-"
    assert texts(shown.text, 0)["ZSRE P-only"] == "-"  # it looks no text up
    assert texts(shown.text, 1)["ZSRE P-only"] == "87.50"


def test_the_caption_says_what_the_numbers_are(shown: EditingView) -> None:
    caption = " ".join(shown.caption)
    for words in (
        "mini-llama (float32)", "ZSRE (embedded world 0)", "LLAMA-2-7B", "50 at 1, 50 at 10",
        "2 seeds (0, 1)",
    ):  # fmt: skip
        assert words in caption


def test_editors_of_later_papers_have_a_mark_and_a_sentence(shown: EditingView) -> None:
    cells = [cell(editor, "zsre", 1, 0) for editor in ("ft", "rag")]
    table = view(TABLE, cells, [scored_record(c, rel=1, gen=1, loc=1) for c in cells]).text
    assert [row[2] for row in table.rows] == ["FT", "RAG \u00a7"]
    assert r"RAG \S{}" in latex(table)
    assert table.caption[-1].startswith("\u00a7 ")
    assert not any("\u00a7" in line for line in shown.caption)


def test_an_editor_that_diverged_is_named_beside_its_numbers() -> None:
    cells = [cell("ft", "zsre", 10, seed) for seed in (0, 1)]
    cells.append(cell("recipe", "zsre", 10, 0))
    done = [scored_record(c, rel=0.5, gen=0.5, loc=0.5) for c in cells]
    done[1] = scored_record(cells[1], rel=0.1, gen=0.0, loc=0.0, diverged_at=7)
    shown = view(TABLE, cells, done)
    assert texts(shown.text, 0)["ZSRE Rel"].startswith("30.00±28.28† (")
    assert "†" not in texts(shown.text, 1)["ZSRE Rel"]
    assert shown.caption[-1] == "† FT at 10 on ZSRE: diverged at edit 7 (seed 1)."
    assert shown.caption[-1] == by_kind(shown).caption[-1]
    rows = list(csv.DictReader(io.StringIO(to_csv(shown))))
    remarks = {(row["editor"], row["remark"]) for row in rows}
    assert remarks == {("FT", "diverged at edit 7 (seed 1)"), ("RECIPE", "")}


def test_a_missing_bos_and_missing_subjects_stand_in_the_caption() -> None:
    own = cell("ft", "zsre", 10, 0)
    done = scored_record(own, rel=0.5, gen=0.5, loc=0.5)
    usual = view(TABLE, [own], [done]).caption
    special = {"front": [], "bos": 1, "lacks_bos": True, "ends": [2]}
    done["provenance"] = {"special_tokens": special}
    done["data"] = {"samples": 1000, "fallbacks": {NO_SUBJECT: 3}}
    missing = "The subject of 3 of 1,000 edits on ZSRE is not in the prompt: editors that write at "
    assert [line for line in view(TABLE, [own], [done]).caption if line not in usual] == [
        "mini-llama has a BOS (1), which its tokenizer puts in front of no prompt.",
        f"{missing}the subject took the prompt's last token there.",
    ]


def test_records_of_earlier_versions_have_no_health() -> None:
    old = scored_record(cell("ft", "zsre", 1, 0), rel=0.5, gen=0.4, loc=0.9)
    del old["health"]
    assert not any(n.remarks for n in view(TABLE, [cell("ft", "zsre", 1, 0)], [old]).numbers)


def test_by_type_shows_the_types_of_probe_of_one_set(shown: EditingView) -> None:
    table = by_kind(shown)
    assert [name.removeprefix("RIPE ") for name in table.columns[3:]] == [
        "Logical Generalization", "Compositionality I", "Compositionality II", "Subject Aliasing",
        "Relation Specificity", "Forgetfulness",
    ]  # fmt: skip
    assert table.rows[0][3:] == ("-", "-", "-", "20.00", "30.00", "-")
    assert set(table.rows[1][3:]) == {"-"}
    assert not any("published" in sentence for sentence in table.caption)


def test_averages_are_a_column_per_data_set_and_stay_bold() -> None:
    table = averages(over_seeds(ft=(0.5, 0.6), recipe=(0.7, 0.9)))
    assert table.groups == (("", ("n", "Type", "Editor")), ("Avg", ("ZSRE",)))
    assert [row[3] for row in table.rows] == [
        "55.00±7.07 (52.70±0.30)", "80.00±14.14 (99.31±0.43)"
    ]  # fmt: skip
    assert table.best == {(1, 3)}
    assert "P-only" not in " ".join(table.caption)


def test_the_best_numbers_are_bold_and_a_significant_lead_is_marked() -> None:
    shown = over_seeds(
        ft=(0.5, 0.6, 0.7, 0.8, 0.9), recipe=(0.51, 0.61, 0.71, 0.82, 0.91)
    )  # differences 1, 1, 1, 2, 1 points: t = 6, p = 0.004
    table = shown.text
    assert table.best == {(1, column) for column in range(3, 7)}
    assert texts(table, 1)["ZSRE Avg"] == "71.20±15.97\u2021 (99.31±0.43)"
    assert texts(table, 1)["ZSRE Rel"] == "71.20±15.97 (99.11)"
    assert "| **71.20±15.97 (99.11)** |" in markdown(table)
    assert r"$\ddagger$" in latex(table)
    assert "Holm's correction of 1 tests" in " ".join(table.caption)
    chance = over_seeds(ft=(0.5, 0.9, 0.7), recipe=(0.6, 0.8, 0.9))
    assert "\u2021" not in texts(chance.text, 1)["ZSRE Avg"]


def test_equal_numbers_are_best_together_and_a_single_editor_is_not() -> None:
    shown = over_seeds(ft=(0.5,), recipe=(0.5,))
    assert {row for row, _ in shown.text.best} == {0, 1}
    assert "Significance is not tested" in " ".join(shown.caption)  # with a single seed
    assert over_seeds(ft=(0.5,)).text.best == frozenset()


def test_another_metric_stands_without_published_numbers() -> None:
    of = cell("ft", "zsre", 1, 0)
    scored = scored_record(of, rel=0.5, gen=0.5, loc=0.5)
    scores = scored["summary"]["scores"]["after"]["teacher_forced"]
    scores["exact"] = dict.fromkeys(scores["token_accuracy"], 0.25)
    scored["summary"]["kinds"]["after"]["teacher_forced"]["exact"] = {}
    for name, text in (("exact", "25.00"), ("generated", "-")):  # it has no generated answers
        shown = view(TABLE, [of], [scored], METRIC_OPTIONS[name])
        assert texts(shown.text, 0)["ZSRE Rel"] == text
        assert METRIC_OPTIONS[name].name in " ".join(shown.caption)


def test_a_variant_has_a_row_beside_its_editor_and_competes_with_nobody() -> None:
    plain = cell("recipe", "zsre", 10, 0)
    other = dataclasses.replace(plain, hparams={"inject": "gptj_ln1"})
    cells = [cell("ft", "zsre", 10, 0), plain, other]
    scores = zip(cells, (0.5, 0.6, 0.9), strict=True)
    done = [scored_record(of, rel=s, gen=s, loc=s) for of, s in scores]
    shown = view(get_table(5), cells, done)
    assert [row[2] for row in shown.text.rows] == ["FT", "RECIPE", "RECIPE (gptj_ln1)"]
    assert texts(shown.text, 2)["ZSRE Rel"] == "90.00"  # nothing is published of it
    assert {row for row, _ in shown.text.best} == {1}
    assert {pair.other for pair in shown.comparisons} == {"FT"}
    assert any(line.startswith("RECIPE (gptj_ln1): ") for line in shown.caption)


def test_table_5_has_both_injections_of_recipe_alone() -> None:
    grid = points(RunConfig(table=5, editors=("recipe", "ft"), datasets=("cf",), edits=(1,)))
    assert [(point.editor, point.variant) for point in grid] == [
        ("ft", None), ("recipe", None), ("recipe", "gptj-ln1"),
    ]  # fmt: skip


# Every format.


def test_markdown_is_a_rectangle(shown: EditingView) -> None:
    lines = [line for line in markdown(shown.text).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 3
    assert {line.count("|") for line in lines} == {3 + 2 * 5 + 1}
    assert "| 1 | MP | FT | 60.00±14.14 (47.86) |" in lines[2]


def test_latex_is_balanced_and_escaped(shown: EditingView) -> None:
    text = latex(shown.text)
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    assert text.count(r"\midrule") == 2  # below the head, and between the numbers of edits
    assert r"60.00$\pm$14.14 (47.86)" in text
    rows = [
        line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line
    ]
    assert {row.count("&") for row in rows} == {3 + 2 * 5 - 1}


TEX = next((name for name in ("pdflatex", "lualatex", "xelatex", "tectonic") if which(name)), None)


@pytest.mark.skipif(TEX is None, reason="no TeX engine")
def test_latex_compiles(shown: EditingView, tmp_path: Path) -> None:
    parts = (r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}")
    document = "\n".join((*parts, latex(shown.text), r"\end{document}"))
    (tmp_path / "table.tex").write_text(document, encoding="utf-8")
    options = [] if TEX == "tectonic" else ["-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run(
        [str(TEX), *options, "table.tex"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "table.pdf").stat().st_size > 1000


def test_csv_has_one_line_per_number(shown: EditingView) -> None:
    head, first, *others = csv.reader(io.StringIO(to_csv(shown)))
    assert head == [*CSV_COLUMNS, "low", "high", "interval_over"]
    assert len(others) == 3 * 2 * 5 - 1
    assert first == [
        "1", "mini-llama", "1", "MP", "FT", "ZSRE", "Rel", "60.00", "14.14", "2",
        "LLAMA-2-7B", "47.86", "", "", "zsre/blocks/v1", "", "", "",
    ]  # fmt: skip
    assert others[-1][7] == ""


def test_terminal_tables_hold_every_text(shown: EditingView) -> None:
    from rich.console import Console

    console = Console(width=200, record=True, file=io.StringIO())
    for table in terminal(shown.text):
        console.print(table)
    printed = console.export_text()
    assert all(text in printed for row in shown.text.rows for text in row)


CELLS = ("98.10±0.31‡ (97.18±0.50)", "89.33 [84.7, 94.0]* (18.37±1.39)", "- (1.22±0.90)")


@pytest.mark.parametrize(
    ("width", "cells"),
    [
        (110, CELLS),
        (90, ("98.10±0.31‡ (97.18)", "89.33 [84.7, 94.0]* (18.37)", "- (1.22)")),
        (70, ("98.10±0.31‡ (97.18)", "89.33 (18.37)", "- (1.22)")),
        (50, ("98.10±0.31‡", "89.33", "-")),
        (35, ("98.10‡", "89.33", "-")),
    ],
)
def test_what_matters_least_leaves_a_narrow_terminal_first(
    width: int, cells: tuple[str, ...]
) -> None:
    groups = (("", ("n", "Editor")), ("ZSRE", ("Rel", "Gen", "Loc")))
    table = TextTable(caption=("",), groups=groups, rows=(("10", "RECIPE (x)", *CELLS),))
    (rich,) = terminal(table, width)
    assert [next(iter(column.cells)) for column in rich.columns] == [
        "10",
        "RECIPE (x)",
        *map(escape, cells),
    ]


def test_bold_is_our_own_number() -> None:
    groups = (("", ("n",)), ("ZSRE", ("Rel",)))
    rows = (("10", "98.10±0.31 (97.18±0.50)"),)
    best = frozenset({(0, 1)})
    (rich,) = terminal(TextTable(caption=("",), groups=groups, rows=rows, best=best))
    assert [*rich.columns[1].cells] == ["[bold]98.10±0.31[/bold] (97.18±0.50)"]


def test_three_files_are_written_and_nothing_else(shown: EditingView, tmp_path: Path) -> None:
    paths = write_table("table1", shown, tmp_path / "tables")
    assert sorted(p.name for p in paths) == ["table1.csv", "table1.md", "table1.tex"]
    assert sorted((tmp_path / "tables").iterdir()) == sorted(paths)
