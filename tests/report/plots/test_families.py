"""Figure 1: every editor of the paper in one of three families, without any record."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli.main import main
from bench.core.published import load
from bench.report.plots import families
from tests.support.records import source


def test_the_families_are_those_of_the_papers_table() -> None:
    drawing = families.build(source([]))
    ours = {(line["family"], line["editor"]) for line in drawing.lines}
    assert ours == {(row["type"], row["editor"]) for row in load(1) if row["editor"] != "N/A"}
    titles = [axes.title.get_text() for axes in drawing.figure.axes]
    assert titles == ["MP: modify parameters", "AP: add parameters", "RB: retrieve"]
    texts = {text.get_text() for axes in drawing.figure.axes for text in axes.texts}
    assert "GRACE, R-ROME, LTE, RECIPE" in texts


@pytest.mark.parametrize("name", ["1", "figure1"])
def test_it_is_drawn_without_records(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["figures", "--figure", name, "--from", "nowhere"]) == 0
    assert sorted(path.suffix for path in Path("figures").iterdir()) == [".csv", ".png", ".svg"]
