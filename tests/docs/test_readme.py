"""Numbers of README and results page are those that the commands print from the reference."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from tests.support.pages import ROOT, table_under

README = (ROOT / "README.md").read_text("utf-8")
RESULTS = (ROOT / "docs" / "results.md").read_text("utf-8")


def printed(capsys: pytest.CaptureFixture[str], *view: str, table: int = 1) -> str:
    assert main(["tables", "--table", str(table), "--reference", *view]) == 0
    return capsys.readouterr().out


def correlations(capsys: pytest.CaptureFixture[str], table: int) -> list[list[str]]:
    """Cells of the rows of all data sets together, one for each number of edits."""
    lines = printed(capsys, "--correlate", table=table).splitlines()
    rows = [line.split("│")[1:-1] for line in lines if "│ all " in line]
    return [[text.strip() for text in row] for row in rows]


def test_its_averages_are_those_of_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--averages", "--markdown", "--edits", "100")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| 100")]
    means = [
        [editor, kind, *(re.findall(r"[\d.]+", cell)[0] for cell in cells)]
        for _, kind, editor, *cells in rows
    ]
    assert table_under(ROOT / "README.md", "editor | type")[1] == means


def test_table_1_is_that_of_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    block = re.search(r"<!-- table 1: begin -->\n(.*?)<!-- table 1: end -->", RESULTS, re.DOTALL)
    assert block is not None
    assert block[1].strip() == printed(capsys, "--averages", "--markdown").strip()


def test_the_correlations_are_those_of_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    rows = correlations(capsys, 1)
    assert [row[0] for row in rows] == ["1", "10", "100", "1,000", "10,000"]
    for n_edits, _, _, rho, interval, chance, _ in rows:
        assert f"| {n_edits} | {rho} | {interval} | {chance} |" in RESULTS


@pytest.mark.parametrize(("table", "lengths"), [(5, 4), (6, 4)])
def test_so_are_those_of_the_other_backbones(
    table: int, lengths: int, capsys: pytest.CaptureFixture[str]
) -> None:
    rhos = [row[3] for row in correlations(capsys, table)]
    assert len(rhos) == lengths
    assert ", ".join(rhos) in " ".join(RESULTS.split())


def test_the_committed_figures_are_shown() -> None:
    assert all(f"(../figures/reference/{name}.svg)" in RESULTS for name in ("edits", "retention"))


@pytest.mark.slow
def test_its_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    block = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert block is not None
    *steps, last = block[1].replace("edits=10", "edits=1, limit=2").strip().splitlines()
    names: dict[str, Any] = {}
    exec("\n".join([*steps, f"shown = {last}"]), names)  # noqa: S102 - our own page
    assert list(names["shown"].index) == ["FT", "GRACE", "RECIPE", "ROME"]
    assert "reliability" in names["shown"].columns
