"""The README's numbers are those that its commands print from the committed reference."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.cli.main import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def printed(capsys: pytest.CaptureFixture[str], *view: str, table: int = 1) -> str:
    assert main(["tables", "--table", str(table), "--reference", *view]) == 0
    return capsys.readouterr().out


def correlations(capsys: pytest.CaptureFixture[str], table: int) -> list[list[str]]:
    """Cells of the rows of all data sets together, one for each number of edits."""
    lines = printed(capsys, "--correlate", table=table).splitlines()
    rows = [line.split("│")[1:-1] for line in lines if "│ all " in line]
    return [[text.strip() for text in row] for row in rows]


def test_table_1_is_that_of_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    found = re.search(r"<!-- table 1: begin -->\n(.*?)<!-- table 1: end -->", README, re.DOTALL)
    assert found is not None
    assert found[1].strip() == printed(capsys, "--averages", "--markdown").strip()


def test_the_correlations_are_those_of_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    rows = correlations(capsys, 1)
    assert [row[0] for row in rows] == ["1", "10", "100", "1,000", "10,000"]
    for n_edits, _, _, rho, interval, chance, _ in rows:
        assert f"| {n_edits} | {rho} | {interval} | {chance} |" in README


@pytest.mark.parametrize(("table", "lengths"), [(5, 4), (6, 4)])
def test_so_are_those_of_the_other_backbones(
    table: int, lengths: int, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [row[3] for row in correlations(capsys, table)]
    assert len(found) == lengths
    assert ", ".join(found) in README


@pytest.mark.parametrize("name", ["edits", "retention"])
def test_the_figures_are_drawn_from_the_reference(name: str, tmp_path: Path) -> None:
    assert f"(figures/reference/{name}.svg)" in README
    assert main(["figures", "--figure", name, "--out", str(tmp_path)]) == 0
    committed = ROOT / "figures/reference" / f"{name}.csv"
    assert (tmp_path / f"{name}.csv").read_text("utf-8") == committed.read_text("utf-8")
