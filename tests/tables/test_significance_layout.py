"""The comparisons of a table as lines of text."""

from __future__ import annotations

from rich.console import Console

from bench.tables.comparisons import Averages, comparisons
from bench.tables.significance_layout import comparison_table


def lines(averages: Averages) -> list[list[str]]:
    console = Console(width=200, record=True)
    console.print(comparison_table(comparisons(averages)))
    rows = [line.split("│")[1:-1] for line in console.export_text().splitlines() if "│" in line]
    return [[text.strip() for text in row] for row in rows]


def test_a_tested_line_holds_both_tests() -> None:
    ours = dict(enumerate([51.0, 61.0, 71.0, 82.0, 91.0]))
    theirs = dict(enumerate([50.0, 60.0, 70.0, 80.0, 90.0]))
    (line,) = lines({(1000, "RECIPE", "CF"): ours, (1000, "LTE", "CF"): theirs})
    assert line[:5] == ["1,000", "CF", "LTE", "+1.20", "5"]
    assert line[5:9] == ["+6.00", "0.0039", "0.0039", "+2.68"]
    assert line[12] == "best"


def test_an_untested_line_says_why() -> None:
    (line,) = lines({(1, "RECIPE", "CF"): {0: 51.0}, (1, "LTE", "CF"): {0: 50.0}})
    assert line[5:12] == ["-"] * 7
    assert line[12] == "best, fewer than two seeds"
