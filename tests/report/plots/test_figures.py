"""The numbers beside each figure, from records written by hand, and the marks of editors.

Editors that are not in the paper's tables look different, and their figures say so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from bench.cli.main import main
from bench.core.names import editor_keys, in_paper
from bench.report.plots import edit_time, edits, prompt_lengths, retention
from bench.report.plots.drawing import Drawing
from bench.report.plots.style import DOTTED, marks
from tests.support.records import csv_lines, record, source
from tests.support.source import ROOT

SETS = ("zsre", "counterfact")
LATER = [key for key in editor_keys(recent=True) if not in_paper(key)]
BUILDERS = {"edits": edits, "time": edit_time, "retention": retention}
MEANS = {"edits": "§ and dotted:", "time": "§ and hollow:", "retention": "§:"}


def lengths(*wanted: int, n_edits: int = 1000) -> list[dict[str, object]]:
    return [
        record("recipe", dataset, n_edits, score=score, hparams={"prompt_length": length})
        for length in wanted
        for dataset, score in zip(SETS, (0.25, 0.75), strict=True)
    ]


def test_figure_3_is_the_mean_over_the_data_sets() -> None:
    drawing = prompt_lengths.build(source(lengths(1, 3)))
    assert csv_lines(drawing) == [
        "backbone,n_edits,prompt_length,metric,value,std,seeds,datasets,protocol",
        *(
            f"mini-llama,1000,{length},{score},,1,ZSRE CF,zsre+counterfact/blocks/v1"
            for length in (1, 3)
            for score in ("Rel,50", "Gen,50", "Loc,100", "Avg,66.6667")
        ),
    ]
    assert drawing.notes == ("No record of all data sets for 2, 4, 5, 8 CPTs.",)


def test_figure_3_has_no_line_across_a_length_without_records() -> None:
    (axes,) = prompt_lengths.build(source(lengths(1, 3))).figure.axes
    points = np.asarray(axes.get_lines()[0].get_xydata())
    assert [x for x, y in points if not math.isnan(y)] == [1, 3]  # 2 lies between, undefined
    assert [x for x, _ in points] == [1, 2, 3, 4, 5, 8]


def test_figure_3_leaves_out_a_length_that_lacks_a_data_set() -> None:
    drawing = prompt_lengths.build(source(lengths(1, 3)[:-1]))
    assert {line["prompt_length"] for line in drawing.lines} == {1}


def test_figure_3_has_the_spread_over_seeds() -> None:
    records = [
        record("recipe", "zsre", 100, score=score, seed=seed)
        for seed, score in enumerate((0.4, 0.6))
    ]
    line = csv_lines(prompt_lengths.build(source(records, edits=100)))[1]
    assert line == "mini-llama,100,3,Rel,50,14.1421,2,ZSRE,zsre/blocks/v1"


def test_edits_has_measured_and_published_values() -> None:
    records = [record("ft", "zsre", 10, score=0.4), record("ft", "zsre", 1, score=0.7)]
    lines = csv_lines(edits.build(source(records)))
    assert lines[1:3] == [
        "measured,mini-llama,ZSRE,MP,FT,1,80,,1,,zsre/blocks/v1",
        "measured,mini-llama,ZSRE,MP,FT,10,60,,1,,zsre/blocks/v1",
    ]
    assert lines[3] == "published,LLAMA-2-7B,ZSRE,MP,FT,1,61.44,1,,,published"
    assert {line.split(",")[4] for line in lines[3:]} == {"FT"}


def test_edits_marks_what_changed_nothing() -> None:
    idle = record("ft", "zsre", 10) | {"health": [{"effect": 0.0, "diverged_at": None}]}
    drawing = edits.build(source([idle]))
    assert csv_lines(drawing)[1].endswith(",no effect,zsre/blocks/v1")
    assert "A hollow mark" in drawing.caption


def test_time_is_the_median_and_quality_the_mean() -> None:
    records = [record("ft", "zsre", 10, score=0.1), record("ft", "counterfact", 10, score=0.7)]
    records[0]["edit_seconds"] = [1.0, 2.0, 3.0]
    drawing = edit_time.build(source([*records, record("rome", "zsre", 10)]))
    assert csv_lines(drawing)[1:] == [
        "mini-llama,10,MP,FT,1.1,0.55,1.7,60,,1,ZSRE CF,zsre+counterfact/blocks/v1"
    ]
    assert drawing.notes == ("Not at 10 edits on all data sets: ROME.",)
    assert "Timed on Abacus, 1 thread." in drawing.caption


def test_names_of_near_points_do_not_cover_each_other() -> None:
    records = [record(editor, n_edits=10) for editor in ("ft", "rome", "memit", "mend", "recipe")]
    figure = edit_time.build(source(records)).figure
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in figure.axes[0].texts]  # without leaders
    assert len(boxes) == 5
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_retention_groups_by_age_and_weighs_samples() -> None:
    first = record("ft", "zsre", 4, score=0.8)
    second = record("ft", "zsre", 4, score=0.2, seed=1)
    second["by_age"][0]["samples"] = 15
    other = record("ft", "counterfact", 4, score=1.0)
    assert csv_lines(retention.build(source([first, second, other])))[1:] == [
        "mini-llama,4,MP,FT,ZSRE,0,1,20,35,zsre/blocks/v1",
        "mini-llama,4,MP,FT,ZSRE,2,3,10,25,zsre/blocks/v1",
        "mini-llama,4,MP,FT,CF,0,1,5,100,counterfact/blocks/v1",
        "mini-llama,4,MP,FT,CF,2,3,5,50,counterfact/blocks/v1",
        "mini-llama,4,MP,FT,mean,0,1,25,67.5,zsre+counterfact/blocks/v1",
        "mini-llama,4,MP,FT,mean,2,3,15,37.5,zsre+counterfact/blocks/v1",
    ]


def test_single_edits_do_not_age() -> None:
    with pytest.raises(ValueError, match="needs records at more than one edit"):
        retention.build(source([record("ft", "zsre", 1)]))


def drawn(figure: str, editors: Sequence[str]) -> Drawing:
    drawing: Drawing = BUILDERS[figure].build(source(record(key) for key in editors))
    return drawing


@pytest.mark.parametrize("figure", BUILDERS)
def test_the_caption_says_what_the_mark_means_and_nothing_without_one(figure: str) -> None:
    sentence = f"{MEANS[figure]} not in the paper's tables."
    assert sentence in drawn(figure, ["ft", "wise"]).caption
    assert "§" not in drawn(figure, ["ft", "recipe"]).caption


def test_lines_of_later_editors_are_dotted_and_no_others() -> None:
    dotted = {key for key, mark in marks().items() if mark.dashes == DOTTED}
    assert dotted == {key for key, mark in marks().items() if mark.hollow} == set(LATER)
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
    for number, new in enumerate(records):
        new["edit_seconds"] = [0.2, 0.3 + 0.04 * number, 0.6]
    drawing = edit_time.build(source(records))
    drawing.figure.draw_without_rendering()
    (axes,) = drawing.figure.axes
    points = {line["editor"]: (line["edit_seconds"], line["avg"]) for line in drawing.lines}
    places = {
        text.get_text(): tuple(axes.transData.transform(points[text.get_text().removesuffix(" §")]))
        for text in axes.texts
    }
    assert len(places) == len(scores)
    for text in axes.texts:
        away = {name: distance(text, at) for name, at in places.items()}
        assert min(away, key=lambda name: away[name]) == text.get_text()


@pytest.mark.slow
@pytest.mark.parametrize("figure", ["edits", "retention"])
@pytest.mark.parametrize(("place", "options"), [(".", []), ("recent", ["--with-recent"])])
def test_the_committed_figures_are_drawn_from_the_reference(
    figure: str, place: str, options: list[str], tmp_path: Path
) -> None:
    assert main(["figures", "--figure", figure, *options, "--out", str(tmp_path)]) == 0
    committed = ROOT / "figures/reference" / place / f"{figure}.csv"
    assert (tmp_path / f"{figure}.csv").read_text("utf-8") == committed.read_text("utf-8")
    assert committed.with_suffix(".svg").is_file()


def distance(text: Text, at: Sequence[float]) -> float:
    """Pixels from a point to a name's box."""
    box = Text.get_window_extent(text)
    x, y = at
    return math.hypot(max(box.x0 - x, 0.0, x - box.x1), max(box.y0 - y, 0.0, y - box.y1))
