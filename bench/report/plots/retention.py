"""Retention: reliability of an edit by its age, the number of edits that came after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.datasets import get_dataset
from bench.report.plots.drawing import (
    Drawing,
    Line,
    Source,
    caption,
    label,
    new_figure,
    recent_note,
)
from bench.report.plots.interactive import Spec, by, editor_groups, panel, series
from bench.report.plots.style import BLACK, BLUE, ORANGE, PURPLE, VERMILLION, WIDTH, paper_style
from bench.store.results import Record
from bench.tables.figure_data import Comparable, common_edits, comparable
from editors import registry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ASPECT = "reliability"
ACROSS = 4  # panels in a row
ROW_HEIGHT, LEGEND_HEIGHT = 1.25, 0.25  # inches
MEAN = "mean"
_LINES: tuple[dict[str, Any], ...] = (
    {"color": BLUE, "marker": "o", "linestyle": "-"},
    {"color": VERMILLION, "marker": "s", "linestyle": "--"},
    {"color": ORANGE, "marker": "^", "linestyle": "-."},
    {"color": PURPLE, "marker": "v", "linestyle": ":"},
)

Ages = dict[tuple[int, int], tuple[int, float]]  # (youngest, oldest) -> samples, percent


def build(source: Source) -> Drawing:
    """A panel per editor at `source.edits` edits, by default the most that all editors have.

    Raises:
        ValueError: no records at this number of edits, or only of single edits, which do not age.
    """
    whole = comparable(source.records(), source.backbone)
    n_edits = source.edits or common_edits(whole.cells)
    chosen = whole.of(n_edits=n_edits)
    if n_edits == 1:
        raise ValueError("The figure of retention needs records at more than one edit.")
    if not chosen.records:
        raise ValueError(
            f"The figure of retention needs records at {n_edits:,} edits on {source.backbone}, "
            "there are none."
        )
    lines = tuple(line for editor in chosen.editors for line in _lines(chosen, editor, n_edits))
    absent = ", ".join(label(key) for key in whole.editors if key not in chosen.editors)
    missing = (f"Not at {n_edits:,} edits: {absent}.",) if absent else ()
    # The legend takes a place that no editor takes, or stands above.
    rows, spare = -(-len(chosen.editors) // ACROSS), -len(chosen.editors) % ACROSS
    with paper_style():
        height = ROW_HEIGHT * rows + 0.2 + (0.0 if spare else LEGEND_HEIGHT)
        figure = new_figure(WIDTH, height, (*_caption(chosen, n_edits), *missing))
        _draw(figure, chosen, lines, rows)
    return Drawing(stem="retention", figure=figure, lines=lines, notes=missing)


def _lines(chosen: Comparable, editor: str, n_edits: int) -> Iterator[dict[str, Any]]:
    """Groups of each data set over all seeds, then their mean where an editor has several."""
    entry = registry.describe(editor)
    groups: dict[str, tuple[str, Ages]] = {}  # label -> protocol, groups
    for key in chosen.datasets:
        own = chosen.of(dataset=key)
        groups[get_dataset(key).label] = own.protocol, _ages(own.of(editor=editor).records)
    if len(groups) > 1:
        groups[MEAN] = chosen.protocol, _mean([ages for _, ages in groups.values()])
    for name, (protocol, ages) in groups.items():
        for (first, last), (samples, value) in ages.items():
            yield {
                "backbone": chosen.backbone, "n_edits": n_edits, "type": entry.family,
                "editor": entry.label, "dataset": name, "age_from": first, "age_to": last,
                "samples": samples, "rel": value, "protocol": protocol,
            }  # fmt: skip


def _ages(records: Iterable[Record]) -> Ages:
    """One group per age, samples of all seeds alike."""
    by_age: dict[tuple[int, int], list[Mapping[str, float]]] = {}
    for record in records:
        for group in record["by_age"]:
            by_age.setdefault((group["from"], group["to"]), []).append(group)
    ages = {}
    for age, parts in sorted(by_age.items()):
        samples = int(sum(part["samples"] for part in parts))
        value = sum(part[ASPECT] * part["samples"] for part in parts) / samples
        ages[age] = samples, 100 * value
    return ages


def _mean(by_dataset: Sequence[Ages]) -> Ages:
    """Over the data sets, of ages that all of them have."""
    means = {}
    for age in by_dataset[0]:
        samples, values = zip(*(ages[age] for ages in by_dataset if age in ages), strict=True)
        if len(values) == len(by_dataset):
            means[age] = sum(samples), fmean(values)
    return means


def _draw(figure: Figure, chosen: Comparable, lines: Sequence[Line], rows: int) -> None:
    panels = figure.subplots(rows, ACROSS, sharex=True, sharey=True, squeeze=False)
    used, spare = np.split(panels.ravel(), [len(chosen.editors)])
    for key, axes in zip(chosen.editors, used, strict=True):
        entry = registry.describe(key)
        own = [line for line in lines if line["editor"] == entry.label]
        _draw_panel(axes, own, chosen.labels)
        axes.set_title(f"{label(key)} ({entry.family})")
    handles, names = panels[0, 0].get_legend_handles_labels()
    for axes in spare:
        axes.set_axis_off()
    if spare.size:
        spare[-1].legend(handles, names, loc="center", handlelength=3.0)
    else:
        figure.legend(handles, names, loc="outside upper center", ncols=4, handlelength=3.0)
    for axes in panels[:, 0]:
        axes.set_ylabel("Rel (%)")
    for axes in used[-ACROSS:]:  # the lowest of each column
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("edits that came after")


def _draw_panel(axes: Axes, lines: Sequence[Line], datasets: Sequence[str]) -> None:
    """A line through the middles of the ages for each data set, and one for their mean."""
    thin = {"linewidth": 0.7, "markersize": 2.2, "alpha": 0.8}
    styles = {name: thin | line for name, line in zip(datasets, _LINES, strict=False)}
    for name, style in (styles | {MEAN: {"color": BLACK, "linewidth": 1.6}}).items():
        points = [(_middle(line), line["rel"]) for line in lines if line["dataset"] == name]
        if points:
            axes.plot(*zip(*points, strict=True), label=name, **style)
    axes.set_ylim(-4, 104)


def _middle(line: Line) -> float:
    age: float = (line["age_from"] + line["age_to"]) / 2
    return age


def _caption(chosen: Comparable, n_edits: int) -> tuple[str, ...]:
    counts = {group["samples"] for record in chosen.records for group in record["by_age"]}
    low, high = min(counts), max(counts)
    samples = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    title = (
        f"Reliability after {n_edits:,} edits by the age of the edit: the number of edits that "
        f"came after it, in groups of {samples} samples per data set and seed."
    )
    return (*caption(title, chosen), *recent_note(chosen.editors))


def interactive(lines: Sequence[Line]) -> Spec:
    """A panel for each data set; the drawing has one for each editor."""
    middles = [{**line, "age": _middle(line)} for line in lines]
    x = {"title": "edits that came after"}
    panels = [
        panel(name, x, [series(e, own, "age", "rel") for e, own in by(here, "editor")], "Rel, %")
        for name, here in by(middles, "dataset")
    ]
    return {"groups": editor_groups(lines), "panels": panels}
