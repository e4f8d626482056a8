"""One table in every format."""

from __future__ import annotations

import csv
import io
import subprocess
from pathlib import Path
from shutil import which

import pytest

from bench.tables.editing import EditingView
from bench.tables.render import latex, markdown, terminal, to_csv, write_table
from tests.tables.test_editing import shown as shown  # noqa: PLC0414 - a fixture


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
    rows = list(csv.DictReader(io.StringIO(to_csv(shown))))
    assert len(rows) == 3 * 2 * 5
    first = rows[0]
    assert (first["editor"], first["dataset"], first["metric"]) == ("FT", "ZSRE", "Rel")
    assert (first["value"], first["std"], first["seeds"]) == ("60.00", "14.14", "2")
    assert (first["backbone"], first["published_backbone"]) == ("mini-llama", "LLAMA-2-7B")
    assert first["published_value"] == "47.86"
    assert rows[-1]["value"] == ""


def test_terminal_tables_hold_every_text(shown: EditingView) -> None:
    from rich.console import Console

    console = Console(width=200, record=True, file=io.StringIO())
    for table in terminal(shown.text):
        console.print(table)
    printed = console.export_text()
    assert all(text in printed for row in shown.text.rows for text in row)


def test_three_files_are_written_and_nothing_else(shown: EditingView, tmp_path: Path) -> None:
    paths = write_table("table1", shown, tmp_path / "tables")
    assert sorted(p.name for p in paths) == ["table1.csv", "table1.md", "table1.tex"]
    assert sorted((tmp_path / "tables").iterdir()) == sorted(paths)
