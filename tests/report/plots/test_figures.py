"""The numbers beside each figure, from records made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.text import Text

from bench.report.plots import edit_time, edits, prompt_lengths, retention
from tests.report.plots.records import csv_lines, record, source

SETS = ("zsre", "counterfact")


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
        "mini-llama,1000,1,Rel,50,,1,ZSRE CF,zsre+counterfact/blocks/v1",
        "mini-llama,1000,1,Gen,50,,1,ZSRE CF,zsre+counterfact/blocks/v1",
        "mini-llama,1000,1,Loc,100,,1,ZSRE CF,zsre+counterfact/blocks/v1",
        "mini-llama,1000,1,Avg,66.6667,,1,ZSRE CF,zsre+counterfact/blocks/v1",
        "mini-llama,1000,3,Rel,50,,1,ZSRE CF,zsre+counterfact/blocks/v1",
        "mini-llama,1000,3,Gen,50,,1,ZSRE CF,zsre+counterfact/blocks/v1",
        "mini-llama,1000,3,Loc,100,,1,ZSRE CF,zsre+counterfact/blocks/v1",
        "mini-llama,1000,3,Avg,66.6667,,1,ZSRE CF,zsre+counterfact/blocks/v1",
    ]
    assert drawing.notes == ("No record of all data sets for 2, 4, 5, 8 CPTs.",)


def test_figure_3_has_no_line_across_a_length_without_records() -> None:
    (axes,) = prompt_lengths.build(source(lengths(1, 3))).figure.axes
    marks = np.asarray(axes.get_lines()[0].get_xydata())
    assert [x for x, y in marks if not math.isnan(y)] == [1, 3]  # 2 lies between, undefined
    assert [x for x, _ in marks] == [1, 2, 3, 4, 5, 8]


def test_figure_3_leaves_out_a_length_that_lacks_a_data_set() -> None:
    some = lengths(1, 3)[:-1]
    assert {line.split(",")[2] for line in csv_lines(prompt_lengths.build(source(some)))[1:]} == {
        "1"
    }


def test_figure_3_has_the_spread_over_seeds() -> None:
    records = [
        record("recipe", "zsre", 100, score=score, seed=seed)
        for seed, score in enumerate((0.4, 0.6))
    ]
    line = csv_lines(prompt_lengths.build(source(records, edits=100)))[1]
    assert line == "mini-llama,100,3,Rel,50,14.1421,2,ZSRE,zsre/blocks/v1"


def test_figure_3_without_records_at_its_number_of_edits() -> None:
    with pytest.raises(ValueError, match=r"needs records at 1,000 edits, there are none\."):
        prompt_lengths.build(source(lengths(3, n_edits=10)))


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
    assert "A hollow mark" in drawing.figure.texts[0].get_text().replace("\n", " ")


def test_time_is_the_median_and_quality_the_mean() -> None:
    records = [record("ft", "zsre", 10, score=0.1), record("ft", "counterfact", 10, score=0.7)]
    records[0]["edit_seconds"] = [1.0, 2.0, 3.0]
    drawing = edit_time.build(source([*records, record("rome", "zsre", 10)]))
    assert csv_lines(drawing)[1:] == [
        "mini-llama,10,MP,FT,1.1,0.55,1.7,60,,1,ZSRE CF,zsre+counterfact/blocks/v1"
    ]
    assert drawing.notes == ("Not at 10 edits on all data sets: ROME.",)
    assert "Timed on Abacus, 1 thread." in drawing.figure.texts[0].get_text().replace("\n", " ")


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
