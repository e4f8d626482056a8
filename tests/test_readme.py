"""The README's numbers are those that its commands print from the committed reference."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.cli import main

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def printed(capsys: pytest.CaptureFixture[str], *view: str) -> str:
    assert main(["tables", "--table", "1", "--reference", *view]) == 0
    return capsys.readouterr().out


def test_table_1_is_that_of_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    found = re.search(r"<!-- table 1: begin -->\n(.*?)<!-- table 1: end -->", README, re.DOTALL)
    assert found is not None
    assert found[1].strip() == printed(capsys, "--averages", "--markdown").strip()


def test_the_correlations_are_those_of_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        [text.strip() for text in line.split("│")[1:-1]]
        for line in printed(capsys, "--correlate").splitlines()
        if "│ all " in line
    ]
    assert [row[0] for row in rows] == ["1", "10", "100"]
    for n_edits, _, _, rho, interval, chance, _ in rows:
        assert f"| {n_edits} | {rho} | {interval} | {chance} |" in README
