"""All editors against the number of edits: a panel per data set, published values in a second row.

The paper prints these as Tables 1, 5 and 6.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core.grids import TABLES
from bench.core.numerics import Spread
from bench.datasets import get_dataset
from bench.report.plots.captions import caption, label, recent_note
from bench.report.plots.drawing import Drawing, Field, new_figure
from bench.report.plots.source import Source
from bench.report.plots.style import WIDTH, Mark, marks, paper_style
from bench.tables.figure_data.alike import Plan, plan
from bench.tables.tabulate import TableData, tabulate
from editors import registry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRIC = "Avg"
ROW_HEIGHT, LEGEND_HEIGHT = 1.95, 0.25  # inches, of a row of panels and of names
ACROSS = 6  # names in a row of the legend
MARGIN = 1.6  # factor, left and right of the points
MEASURED, PUBLISHED = "measured", "published"
COLUMNS = (
    "source",
    "backbone",
    "dataset",
    "type",
    "editor",
    "n_edits",
    "avg",
    "std",
    "seeds",
    "remark",
    "protocol",
)


@dataclass(frozen=True, kw_only=True)
class Point:
    """An editor's Avg at n edits on one data set, in percent."""

    source: str  # MEASURED or PUBLISHED
    backbone: str
    dataset: str  # key
    editor: str  # key
    n_edits: int
    value: Spread
    remarks: tuple[str, ...] = ()


def build(source: Source) -> Drawing:
    """Avg of every editor at every number of edits in the records.

    Raises:
        ValueError: no records of the backbone, or ones that were not measured alike.
    """
    chosen = plan(source.records(), source.backbone)
    points = tuple(_points(chosen))
    sources = tuple(dict.fromkeys(point.source for point in points))
    with paper_style():
        names = max(2, -(-len(chosen.editors) // ACROSS))
        height = ROW_HEIGHT * len(sources) + LEGEND_HEIGHT * names
        figure = new_figure(WIDTH, height, _caption(chosen, points))
        _draw(figure, chosen, points, sources)
    return Drawing(
        stem="edits",
        figure=figure,
        columns=COLUMNS,
        rows=tuple(_row(point, chosen) for point in points),
    )


def _points(chosen: Plan) -> Iterator[Point]:
    """Measured points, then the published ones of the same editors where there is such a table."""
    table = chosen.table
    data = tabulate(table or TABLES[1], chosen.cells, chosen.records)
    for row in data.rows:
        for dataset in data.datasets:
            entry = data.entries.get((row.n_edits, row.editor, dataset))
            if entry is not None and METRIC in entry.values:
                yield Point(
                    source=MEASURED, backbone=data.backbone, dataset=dataset, editor=row.editor,
                    n_edits=row.n_edits, value=entry.values[METRIC], remarks=entry.remarks,
                )  # fmt: skip
    if table is not None:
        yield from _published(data)


def _published(data: TableData) -> Iterator[Point]:
    keys = {row.label: row.editor for row in data.rows}
    datasets = {get_dataset(key).label: key for key in data.datasets}
    for (n_edits, name, dataset, metric), number in data.published.items():
        if metric == METRIC and name in keys and dataset in datasets:
            yield Point(
                source=PUBLISHED, backbone=data.table.published_backbone,
                dataset=datasets[dataset], editor=keys[name], n_edits=n_edits,
                value=Spread(number.value, number.std, 0),
            )  # fmt: skip


def _draw(figure: Figure, chosen: Plan, points: Sequence[Point], sources: Sequence[str]) -> None:
    panels = figure.subplots(
        len(sources), len(chosen.datasets), sharex=True, sharey=True, squeeze=False
    )
    styles = marks(chosen.editors)
    edits = [point.n_edits for point in points]
    limits = min(edits) / MARGIN, max(edits) * MARGIN
    for i, source in enumerate(sources):
        for j, dataset in enumerate(chosen.datasets):
            here = [p for p in points if (p.source, p.dataset) == (source, dataset)]
            _draw_panel(panels[i, j], here, styles, limits)
            if i == 0:
                panels[i, j].set_title(get_dataset(dataset).label)
        backbone = next(p.backbone for p in points if p.source == source)
        panels[i, 0].set_ylabel(f"{source}, {backbone}\nAvg (%)")
    for axes in panels[-1]:
        axes.set_xlabel("sequential edits")
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=ACROSS, handlelength=3.2)


def _draw_panel(
    axes: Axes, points: Sequence[Point], styles: dict[str, Mark], limits: tuple[float, float]
) -> None:
    """One line per editor; a hollow mark says that its number carries a remark."""
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    axes.set_ylim(-2, 102)
    for key, mark in styles.items():
        found = [point for point in points if point.editor == key]
        edits, values = [p.n_edits for p in found], [p.value.mean for p in found]
        axes.plot(edits, values, label=label(key), **mark.line, zorder=3)
        spreads = [p.value.std or 0.0 for p in found]
        if any(spreads):
            axes.errorbar(edits, values, spreads, fmt="none", ecolor=mark.colour, elinewidth=0.6)
        hollow = [p for p in found if p.remarks]
        axes.plot(
            [p.n_edits for p in hollow], [p.value.mean for p in hollow], linestyle="none",
            marker=mark.marker, markersize=mark.size, markerfacecolor="white",
            markeredgecolor=mark.colour, zorder=4,
        )  # fmt: skip
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.minorticks_off()


def _caption(chosen: Plan, points: Sequence[Point]) -> tuple[str, ...]:
    title = "Average of reliability, generality and locality against the number of edits."
    published = {point.backbone for point in points if point.source == PUBLISHED}
    beside = f"Lower row: the published values, on {', '.join(published)}." if published else ""
    hollow = [point for point in points if point.remarks]
    remark = (
        "A hollow mark: the editor changed nothing or diverged, in some blocks at least."
        if hollow
        else ""
    )
    lines = "Line styles: solid modifies parameters, dash-dotted adds some, dashed retrieves"
    own = "; RECIPE is black."
    later = recent_note(chosen.editors, "dotted")
    return (*caption(title, chosen), *filter(None, [beside, remark]), lines + own, *later)


def _row(point: Point, chosen: Plan) -> tuple[Field, ...]:
    entry = registry.describe(point.editor)
    return (
        point.source, point.backbone, get_dataset(point.dataset).label, entry.family, entry.label,
        point.n_edits, point.value.mean, point.value.std, point.value.n or None,
        "; ".join(point.remarks),
        chosen.protocols[point.dataset] if point.source == MEASURED else PUBLISHED,
    )  # fmt: skip
