"""The report shows the numbers that `tables` writes, the paper's beside them, and the verdicts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from bench.checks.audit import audit
from bench.checks.audit.findings import summary
from bench.checks.regression.evidence import pinned
from bench.cli import main as cli
from bench.core.grids import TABLES
from bench.core.published import Published, all_numbers, numbers
from bench.report import judged
from bench.report.pages import Grid
from bench.report.paper_tables import table_part
from bench.report.sources import Records, read
from bench.store.reference import reference_folder, reference_records
from bench.tables.table import METRICS
from tests.report.html import Page, pages


def written(table: int, folder: Path) -> list[dict[str, str]]:
    """The CSV that `tables` writes of the committed records."""
    command = ["tables", "--table", str(table), "--reference", "--out", str(folder)]
    assert cli.main(command) == 0
    text = (folder / "tables" / f"table{table}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))


def grid_of(table: int) -> Grid:
    """The report's table of the committed records, without pages."""
    name = f"table{table}"
    read = Records(reference_folder(), {name: reference_records(name)})
    cells, records = read.cells(TABLES[table]), list(read.all.values())
    return table_part(TABLES[table], cells, records, "t")[0]


def text_of(number: Published) -> str:
    return f"{number.value:.2f}" + ("" if number.std is None else f"±{number.std:.2f}")


def shown(grid: Grid) -> Iterator[tuple[dict[str, str], str, Any]]:
    """(row by column, column, value) of every number."""
    names = [column.name for column in grid.columns]
    for row in grid.rows:
        texts = {name: value.text for name, value in zip(names, row.values, strict=True)}
        yield from ((texts, name, v) for name, v in zip(names, row.values, strict=True))


@pytest.mark.parametrize("table", [1, 5, 6])
def test_tables_of_editing(table: int, tmp_path: Path) -> None:
    metrics = [*METRICS, "P-only"]
    ours = {
        (texts["Editor"], texts["Edits"].replace(",", ""), texts["Data set"], name): value
        for texts, name, value in shown(grid_of(table))
        if name in metrics
    }
    rows = written(table, tmp_path)
    place = itemgetter("editor", "n_edits", "dataset")
    run = {place(row) for row in rows if row["value"]}
    rows = [row for row in rows if place(row) in run]  # the report has no rows for the others
    assert len(rows) == len(ours) > 300
    for row in rows:
        metric = "P-only" if row["metric"] == "Avg prompt_only" else row["metric"]
        value = ours[row["editor"], row["n_edits"], row["dataset"], metric]
        assert value.text == (row["value"] or "-")
        if row["std"] or not value.spread.startswith(" ["):  # else the interval of one seed
            assert value.spread == (f"±{row['std']}" if row["std"] else "")
        assert value.published.partition("±")[0] == row["published_value"]
        assert not row["value"] or value.href.count(",") == int(row["seeds"]) - 1


def test_general_ability(tmp_path: Path) -> None:
    values = [value for _, _, value in shown(grid_of(2)) if value.href]
    assert [v.text for v in values if v.published] == [
        row["value"] for row in written(2, tmp_path) if row["value"] and row["published_value"]
    ]


def test_times(tmp_path: Path) -> None:
    texts = [v.text for _, name, v in shown(grid_of(3)) if name in {"Edit", "Inference", "Total"}]
    metrics = {"edit_time_s", "infer_time_s", "total_time_s"}
    rows = [row for row in written(3, tmp_path) if row["metric"] in metrics]
    assert texts == [f"{float(row['value']):.4f}" if row["value"] else "-" for row in rows]


def test_ablation(tmp_path: Path) -> None:
    texts = [value.text for _, name, value in shown(grid_of(4)) if name in METRICS]
    assert texts == [row["value"] or "-" for row in written(4, tmp_path)]


@pytest.mark.parametrize("table", [1, 2, 4, 6])
def test_published_values_are_the_papers(table: int) -> None:
    printed = {text_of(published) for published in numbers(table).values()}
    beside = [value for _, _, value in shown(grid_of(table)) if value.published]
    assert beside
    assert {value.published for value in beside} <= printed


def test_a_page_has_the_published_value_in_the_place_of_ours(small_report: Path) -> None:
    page: Page = pages(small_report)["table1.html"]
    place = next(p for p in numbers(1) if p[1:] == (10, "RECIPE", "ZSRE", "Avg"))
    theirs = numbers(1)[place]
    head, *rows = page.rows["table1-table"]
    names = [name.strip() for name in head]
    (row,) = [row for row in rows if row[:3] == ["RECIPE", "10", "ZSRE"]]
    text = row[names.index("Avg")]
    assert f"published {text_of(theirs)} on LLAMA-2-7B" in text
    ours = float(text.partition("±")[0])
    assert f"ours {ours - theirs.value:+.2f}".replace("-", "\u2212") in text


def test_claims_on_the_committed_results_are_the_known_ones() -> None:
    claims = judged.judged(read(reference_folder()))
    assert {claim.key: claim.pair for claim in claims} == pinned()
    rows = [row.values for row in judged.claims_grid(claims).rows]
    assert [(row[2].text, row[3].text) for row in rows] == [claim.pair for claim in claims]


def test_a_verdict_that_is_not_the_known_one_is_marked(small_report: Path) -> None:
    rows = pages(small_report)["claims.html"].rows["claims-table"]
    known = pinned() or {}
    changed = set()
    for row, pair in zip(rows[1:], known.values(), strict=True):
        verdict = row[3].removesuffix(" (changed)")
        changed.add(verdict != row[3])
        assert (verdict != row[3]) == (verdict != pair[1])
    assert True in changed  # few records: less can be tested


def test_the_audit_has_every_finding(small_report: Path) -> None:
    sections = audit(all_numbers())
    page = pages(small_report)["audit.html"]
    assert summary(sections) in page.text
    tables = [rows[1:] for name, rows in page.rows.items() if name.startswith("check-")]
    shown = [row for rows in tables for row in rows]
    findings = [finding for section in sections for finding in section.findings]
    assert [row[0] for row in shown] == [finding.verdict for finding in findings]
    assert all(own.sentence in row[1] for row, own in zip(shown, findings, strict=True))
