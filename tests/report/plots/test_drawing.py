"""Files of figures: the same bytes for the same input, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
import pytest
from matplotlib import layout_engine
from matplotlib.transforms import Bbox

from bench.report.plots import FIGURES
from bench.report.plots.drawing import Drawing, new_figure, write
from bench.report.plots.style import MARKERS, marks, paper_style
from tests.support.records import map_data, record, source


def built(key: str) -> Drawing:
    records = [
        record(editor, dataset, 10, score=score, seed=seed)
        for editor in ("ft", "recipe")
        for dataset in ("zsre", "counterfact")
        for seed, score in enumerate((0.25, 0.5))
    ]
    chosen = source(records, edits=10, prompt_map=map_data())
    drawing: Drawing = FIGURES[key].module().build(chosen)
    return drawing


@pytest.mark.parametrize("key", FIGURES)
def test_the_same_input_gives_the_same_bytes(key: str) -> None:
    first = built(key).contents()
    with mpl.rc_context({"font.size": 20, "axes.grid": False}):  # of a user's matplotlibrc
        again = built(key).contents()
    assert first == again
    stem = key if key.isalpha() else f"figure{key}"
    assert list(first) == [f"{stem}.png", f"{stem}.svg", f"{stem}.csv"]
    assert first[f"{stem}.png"].startswith(b"\x89PNG")


@pytest.mark.parametrize("key", FIGURES)
def test_the_last_digits_of_a_layout_change_no_bytes(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = built(key).contents()
    solve = vars(layout_engine)["do_constrained_layout"]

    def shaken(figure: Any, **how: Any) -> Any:
        grids = solve(figure, **how)
        for axes in figure.axes:
            box = axes.get_position(original=True)
            axes._set_position(Bbox.from_bounds(*(value * (1 + 1e-14) for value in box.bounds)))
        return grids

    monkeypatch.setattr(layout_engine, "do_constrained_layout", shaken)
    assert built(key).contents() == first


@pytest.mark.parametrize("key", FIGURES)
def test_files_carry_no_date_and_nothing_leaves_the_page(key: str) -> None:
    drawing = built(key)
    images = drawing.contents()
    (svg,) = [content for name, content in images.items() if name.endswith(".svg")]
    ET.fromstring(svg)  # noqa: S314 - our own
    assert b"<dc:date>" not in svg
    page = drawing.figure.bbox
    caption, *_ = drawing.figure.texts
    titles = [axes.title for axes in drawing.figure.axes if axes.title.get_text()]
    for text in (caption, *titles):
        (x0, y0), (x1, y1) = text.get_window_extent().get_points()
        assert 0 <= x0 <= x1 <= page.x1
        assert 0 <= y0 <= y1 <= page.y1
    boxes = [axes.get_tightbbox() for axes in drawing.figure.axes]
    lowest = min(box.y0 for box in boxes if box is not None)
    assert caption.get_window_extent().y1 <= lowest


@pytest.mark.parametrize("key", [key for key, entry in FIGURES.items() if entry.of_records])
def test_captions_say_backbone_data_and_world(key: str) -> None:
    said = built(key).caption
    for part in ("mini-llama", "embedded world 0", "Embedded results test the code"):
        assert part in said
    if key != "4":
        assert "samples drawn at n edits: 20 at 10" in said
        assert "2 seeds (0, 1)" in said
        assert "metric protocol 1; sequential protocol blocks" in said


def test_a_drawing_that_fails_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing = built("time")

    def explode(*_: object, **__: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(drawing.figure, "savefig", explode)
    with pytest.raises(OSError, match="no room"):
        write(drawing, tmp_path / "figures")
    assert list(tmp_path.iterdir()) == []


def test_no_two_editors_look_alike() -> None:
    every = marks()
    assert len(every) >= 11
    assert len({mark.marker for mark in every.values()}) == len(every) <= len(MARKERS)
    assert len({(mark.colour, str(mark.dashes)) for mark in every.values()}) == len(every)
    assert marks(["recipe"])["recipe"] == every["recipe"]


def test_dollar_signs_in_texts_are_no_formulas() -> None:
    with paper_style():
        figure = new_figure(3.0, 1.0, ["costs $x_{$ or $5"])
        figure.text(0.5, 0.5, "a word, $^$")
    drawn = Drawing(stem="x", figure=figure, lines=({"a": "=1+1"},)).contents()
    assert len(drawn["x.svg"]) > 1_000
    assert drawn["x.csv"].decode().splitlines() == ["a", "'=1+1"]
