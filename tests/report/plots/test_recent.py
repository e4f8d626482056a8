"""Editors that are not in the paper's tables look different, and their figures say so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from bench.cli.main import main
from bench.core.names import editor_keys, in_paper
from bench.report.plots import edit_time, edits, retention
from bench.report.plots.drawing import Drawing
from bench.report.plots.style import DOTTED, marks
from editors import registry
from tests.report.plots.records import record, source
from tests.support.source import ROOT

LATER = [key for key in editor_keys(recent=True) if not in_paper(key)]
BUILDERS = {"edits": edits, "time": edit_time, "retention": retention}
MEANS = {"edits": "§ and dotted:", "time": "§ and hollow:", "retention": "§:"}


def drawn(figure: str, editors: Sequence[str]) -> Drawing:
    drawing: Drawing = BUILDERS[figure].build(source(record(key) for key in editors))
    return drawing


def caption(drawing: Drawing) -> str:
    return " ".join(drawing.figure.texts[0].get_text().split())


@pytest.mark.parametrize("figure", BUILDERS)
def test_the_caption_says_what_the_mark_means_and_nothing_without_one(figure: str) -> None:
    sentence = f"{MEANS[figure]} not in the paper's tables."
    assert sentence in caption(drawn(figure, ["ft", "wise"]))
    assert "§" not in caption(drawn(figure, ["ft", "recipe"]))


def test_lines_of_later_editors_are_dotted_and_no_others() -> None:
    found = marks()
    assert {key for key, mark in found.items() if mark.dashes == DOTTED} == set(LATER)
    assert {key for key, mark in found.items() if mark.hollow} == set(LATER)
    (legend,) = drawn("edits", ["ft", *LATER]).figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["FT", "AlphaEdit §", "WISE §", "UltraEdit §", "IKE §", "RAG §"]


def test_points_of_later_editors_are_hollow() -> None:
    (axes,) = drawn("time", ["ft", "wise"]).figure.axes
    wanted = {mark.marker for mark in marks(["ft", "wise"]).values()}
    points = [line for line in axes.get_lines() if line.get_marker() in wanted]
    faces = [to_hex(point.get_markerfacecolor()) for point in points]
    assert faces == [marks()["ft"].colour.lower(), "#ffffff"]


def test_the_legend_of_retention_stands_above_where_editors_take_every_place() -> None:
    three, four = (drawn("retention", ["ft", *LATER[:n]]).figure for n in (2, 3))
    assert (len(three.legends), len(four.legends)) == (0, 1)
    assert len(four.axes) == len(three.axes) == 4
    assert four.get_figheight() > three.get_figheight()
    titles = [axes.get_title() for axes in four.axes]
    assert titles == ["FT (MP)", "AlphaEdit § (MP)", "WISE § (AP)", "UltraEdit § (MP)"]


def test_the_legend_of_edits_has_a_row_more_for_all_of_them() -> None:
    few, every = (drawn("edits", keys).figure for keys in (["ft"], editor_keys(recent=True)))
    assert every.get_figheight() > few.get_figheight()


def test_a_name_is_nearer_to_its_own_point_than_to_others() -> None:
    scores = {"rome": 0.50, "wilke": 0.51, "alphaedit": 0.40, "memit": 0.56, "t_patcher": 0.72}
    records = [record(key, score=score) for key, score in scores.items()]
    for number, one in enumerate(records):
        one["edit_seconds"] = [0.2, 0.3 + 0.04 * number, 0.6]
    figure = edit_time.build(source(records)).figure
    figure.draw_without_rendering()
    (axes,) = figure.axes
    names = {registry.describe(key).label: key for key in scores}
    points = {one["cell"]["editor"]: one for one in records}
    places = {}
    for text in axes.texts:
        one = points[names[text.get_text().removesuffix(" §")]]
        average = (2 * scores[one["cell"]["editor"]] + 1) / 3
        at = axes.transData.transform((one["edit_seconds"][1], 100 * average))
        places[text.get_text()] = (float(at[0]), float(at[1]))
    assert len(places) == len(scores)
    for text in axes.texts:
        away = {name: distance(text, at) for name, at in places.items()}
        assert min(away, key=lambda name: away[name]) == text.get_text()


@pytest.mark.parametrize("figure", ["edits", "retention"])
def test_the_committed_figures_are_drawn_from_the_reference(figure: str, tmp_path: Path) -> None:
    assert main(["figures", "--figure", figure, "--with-recent", "--out", str(tmp_path)]) == 0
    committed = ROOT / "figures/reference/recent" / f"{figure}.csv"
    assert (tmp_path / f"{figure}.csv").read_text("utf-8") == committed.read_text("utf-8")
    assert committed.with_suffix(".svg").is_file()


def distance(text: Text, at: tuple[float, ...]) -> float:
    """Pixels from a point to a name's box."""
    box = Text.get_window_extent(text)
    x, y = at
    return math.hypot(max(box.x0 - x, 0.0, x - box.x1), max(box.y0 - y, 0.0, y - box.y1))
