"""Time against quality: the median seconds of one edit and the Avg after all of them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.report.plots.drawing import (
    Drawing,
    Line,
    Named,
    Source,
    caption,
    label,
    new_figure,
    place_names,
    recent_note,
)
from bench.report.plots.interactive import Spec, by, editor_groups, panel, series
from bench.report.plots.style import COLUMN, marks, paper_style
from bench.tables.figure_data import Comparable, common_edits, comparable, with_average
from bench.tables.table import over_datasets
from bench.tables.times import machine_of
from editors import registry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRIC = "Avg"
HEIGHT = 2.8  # inches
NAME_SIZE = 7.0  # points


def build(source: Source) -> Drawing:
    """One point per editor at `source.edits` edits, by default the most that all editors have.

    Raises:
        ValueError: no editor has records of all data sets at this number of edits.
    """
    whole, left_out = with_average(comparable(source.records(), source.backbone))
    n_edits = source.edits or common_edits(whole.cells)
    chosen = whole.of(n_edits=n_edits)
    lines = {editor: _line(chosen, editor, n_edits) for editor in chosen.editors}
    points = {editor: line for editor, line in lines.items() if line is not None}
    if not points:
        raise ValueError(
            f"The figure of times needs records of all data sets at {n_edits:,} edits for one "
            f"editor at least, on {source.backbone}."
        )
    absent = ", ".join(label(editor) for editor in whole.editors if editor not in points)
    without = (f"Not at {n_edits:,} edits on all data sets: {absent}.",) if absent else ()
    missing = (*without, *left_out)
    with paper_style():
        figure = new_figure(COLUMN, HEIGHT, (*_caption(chosen, n_edits), *missing))
        _draw(figure, points)
    return Drawing(stem="time", figure=figure, lines=tuple(points.values()), notes=missing)


def _line(chosen: Comparable, editor: str, n_edits: int) -> dict[str, Any] | None:
    """An editor's mean Avg in percent, and quartiles of the seconds of one edit, if it has all."""
    records, entry = chosen.of(editor=editor).records, registry.describe(editor)
    average = over_datasets(records, chosen.datasets).get(METRIC)
    if average is None:
        return None
    # Each the median over data sets and seeds.
    low, middle, high = (median(r["edit_seconds"][i] for r in records) for i in range(3))
    return {
        "backbone": chosen.backbone, "n_edits": n_edits, "type": entry.family,
        "editor": entry.label, "edit_seconds": middle, "lower_quartile": low,
        "upper_quartile": high, "avg": average.mean, "std": average.std, "seeds": average.n,
        "datasets": " ".join(chosen.labels), "protocol": chosen.protocol,
    }  # fmt: skip


def _draw(figure: Figure, points: dict[str, dict[str, Any]]) -> None:
    axes = figure.add_subplot()
    named = []
    for editor, mark in marks(list(points)).items():
        line = points[editor]
        x, low, high = line["edit_seconds"], line["lower_quartile"], line["upper_quartile"]
        y, std = line["avg"], line["std"]
        axes.errorbar(
            [x], [y], std, [[x - low], [high - x]], fmt=mark.marker, color=mark.colour,
            markersize=mark.size + 1, elinewidth=0.6,
            markerfacecolor="white" if mark.hollow else mark.colour,
        )  # fmt: skip
        y_range = y - (std or 0.0), y + (std or 0.0)
        named.append(Named(name=label(editor), x=x, y=y, x_range=(low, high), y_range=y_range))
    axes.set_xscale("log")
    axes.set_xlabel("median time of one edit (s); bars: quartiles")
    axes.set_ylabel("Avg, mean over data sets (%)")
    axes.set_ylim(-4, 104)
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter("{x:g}")
    place_names(figure, axes, named, NAME_SIZE)


def _caption(chosen: Comparable, n_edits: int) -> tuple[str, ...]:
    title = (
        f"Average of reliability, generality and locality after {n_edits:,} edits (mean over "
        f"{', '.join(chosen.labels)}) against the time of one edit."
    )
    machines = "; ".join(dict.fromkeys(map(machine_of, chosen.records)))
    note = recent_note(chosen.editors, "hollow")
    return (*caption(title, chosen), f"Timed on {machines}.", *note)


def interactive(lines: Sequence[Line]) -> Spec:
    """One panel, as in the drawing."""
    x = {"title": "median seconds of one edit", "type": "log", "step": "D2"}
    own = [
        series(name, points, "edit_seconds", "avg") | {"mode": "markers"}
        for name, points in by(lines, "editor")
    ]
    return {"groups": editor_groups(lines), "panels": [panel("", x, own, "Avg, %")]}
