"""All editors against the number of edits: a panel per data set, published values in a second row.

The paper prints these as Tables 1, 5 and 6.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.core.grids import TABLES
from bench.core.published import numbers as published_numbers
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
from bench.report.plots.style import WIDTH, Mark, marks, paper_style
from bench.tables.editing import view
from bench.tables.figure_data import Comparable, comparable, with_average
from editors import registry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRIC = "Avg"
ROW_HEIGHT, LEGEND_HEIGHT = 1.95, 0.25  # inches, of a row of panels and of names
ACROSS = 6  # names in a row of the legend
MARGIN = 1.6  # factor, left and right of the points
MEASURED, PUBLISHED = "measured", "published"


def build(source: Source) -> Drawing:
    """Avg of every editor at every number of edits in the records.

    Raises:
        ValueError: no records of the backbone, or ones that were not measured alike.
    """
    chosen, left_out = with_average(comparable(source.records(), source.backbone))
    lines = tuple(_lines(chosen))
    sources = dict(by(lines, "source"))
    with paper_style():
        names = max(2, -(-len(chosen.editors) // ACROSS))
        height = ROW_HEIGHT * len(sources) + LEGEND_HEIGHT * names
        figure = new_figure(WIDTH, height, (*_caption(chosen, lines), *left_out))
        _draw(figure, chosen, sources)
    return Drawing(stem="edits", figure=figure, lines=lines, notes=left_out)


def _lines(chosen: Comparable) -> Iterator[dict[str, Any]]:
    """Measured points, then the published ones of the same editors where there is such a table."""
    shown = view(chosen.table or TABLES[1], chosen.cells, chosen.records)
    averages = [n for n in shown.numbers if n.metric == METRIC]
    for n in averages:
        if n.ours:
            yield {
                "source": MEASURED, "backbone": n.row.backbone, "dataset": n.dataset,
                "type": n.row.family, "editor": n.row.label, "n_edits": n.row.n_edits,
                "avg": n.ours.mean, "std": n.ours.std, "seeds": n.ours.n,
                "remark": "; ".join(n.remarks), "protocol": n.protocol,
            }  # fmt: skip
    if chosen.table is None:
        return
    families = {n.row.label: n.row.family for n in averages}
    datasets = {n.dataset for n in averages}
    for place, number in published_numbers(chosen.table.number).items():
        if place.metric == METRIC and place.editor in families and place.dataset in datasets:
            yield {
                "source": PUBLISHED, "backbone": chosen.table.published_backbone,
                "dataset": place.dataset, "type": families[place.editor], "editor": place.editor,
                "n_edits": place.n_edits, "avg": number.value, "std": number.std, "remark": "",
                "protocol": PUBLISHED,
            }  # fmt: skip


def _draw(figure: Figure, chosen: Comparable, sources: Mapping[str, Sequence[Line]]) -> None:
    shape = len(sources), len(chosen.labels)
    panels = figure.subplots(*shape, sharex=True, sharey=True, squeeze=False)
    edits = [line["n_edits"] for lines in sources.values() for line in lines]
    limits = min(edits) / MARGIN, max(edits) * MARGIN
    for row, (source, lines) in zip(panels, sources.items(), strict=True):
        for axes, dataset in zip(row, chosen.labels, strict=True):
            here = [line for line in lines if line["dataset"] == dataset]
            _draw_panel(axes, here, marks(chosen.editors), limits)
        row[0].set_ylabel(f"{source}, {lines[0]['backbone']}\nAvg (%)")
    for axes, dataset in zip(panels[0], chosen.labels, strict=True):
        axes.set_title(dataset)
    for axes in panels[-1]:
        axes.set_xlabel("sequential edits")
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=ACROSS, handlelength=3.2)


def _draw_panel(
    axes: Axes, lines: Sequence[Line], styles: Mapping[str, Mark], limits: tuple[float, float]
) -> None:
    """One line per editor; a hollow mark says that its number carries a remark."""
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    axes.set_ylim(-2, 102)
    for key, mark in styles.items():
        own = [line for line in lines if line["editor"] == registry.describe(key).label]
        edits, values = [p["n_edits"] for p in own], [p["avg"] for p in own]
        axes.plot(edits, values, label=label(key), **mark.line, zorder=3)
        spreads = [p["std"] or 0.0 for p in own]
        if any(spreads):
            axes.errorbar(edits, values, spreads, fmt="none", ecolor=mark.colour, elinewidth=0.6)
        hollow = [p for p in own if p["remark"]]
        looks = mark.line | {"linestyle": "none", "markerfacecolor": "white", "zorder": 4}
        axes.plot([p["n_edits"] for p in hollow], [p["avg"] for p in hollow], **looks)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.minorticks_off()


def _caption(chosen: Comparable, lines: Sequence[Line]) -> Iterator[str]:
    title = "Average of reliability, generality and locality against the number of edits."
    yield from caption(title, chosen)
    published = {line["backbone"] for line in lines if line["source"] == PUBLISHED}
    if published:
        yield f"Lower row: the published values, on {', '.join(published)}."
    if any(line["remark"] for line in lines):
        yield "A hollow mark: the editor changed nothing or diverged, in some blocks at least."
    yield (
        "Line styles: solid modifies parameters, dash-dotted adds some, dashed retrieves; RECIPE "
        "is black."
    )
    yield from recent_note(chosen.editors, "dotted")


def interactive(lines: Sequence[Line]) -> Spec:
    """A panel for each data set, of ours and of the published numbers."""
    ticks = list(dict.fromkeys(line["n_edits"] for line in lines))
    x = {"title": "sequential edits", "type": "log", "ticks": ticks}
    panels = []
    for source, whole in by(lines, "source"):
        for dataset, here in by(whole, "dataset"):
            own = [series(name, points, "n_edits", "avg") for name, points in by(here, "editor")]
            panels.append(panel(f"{dataset}, {source} ({here[0]['backbone']})", x, own, "Avg, %"))
    return {"groups": editor_groups(lines), "panels": panels}
