"""Figure 3: RECIPE's metrics against the number of its continuous prompt tokens (CPTs)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.core.grids import LENGTHS
from bench.report.plots.drawing import Drawing, Line, Source, caption, new_figure
from bench.report.plots.interactive import Spec, group, panel, series
from bench.report.plots.style import BLACK, BLUE, COLUMN, ORANGE, VERMILLION, paper_style
from bench.tables.figure_data import LengthMeans, length_means, recipe_by_length, with_average
from bench.tables.table import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 2.5  # inches
# Metric -> colour, marker, symbol of the interactive form, line style and width.
_LINES = {
    "Rel": (BLUE, "o", "circle", "-", 1.1),
    "Gen": (VERMILLION, "s", "square", "--", 1.1),
    "Loc": (ORANGE, "^", "triangle-up", "-.", 1.1),
    "Avg": (BLACK, "D", "diamond", "-", 1.6),
}


def build(source: Source) -> Drawing:
    """Metrics after `source.edits` edits (the paper's 1,000 by default), a mark per length.

    Raises:
        ValueError: no length has records of all data sets at this number of edits.
    """
    chosen = recipe_by_length(source.records(), source.backbone, source.edits)
    chosen, left_out = with_average(chosen)
    n_edits = chosen.cells[0].n_edits
    means = length_means(chosen, chosen.datasets)
    if not means:
        raise ValueError(
            f"Figure 3 needs records of all data sets at {n_edits:,} edits for one length of "
            "continuous prompts at least."
        )
    absent = ", ".join(str(length) for length in LENGTHS if length not in means)
    without = (f"No record of all data sets for {absent} CPTs.",) if absent else ()
    notes = (*without, *left_out)
    title = (
        f"Figure 3: RECIPE after {n_edits:,} edits against the length of its continuous prompts, "
        f"mean over {', '.join(chosen.labels)}."
    )
    about = (*caption(title, chosen), "Each length has weights of its own, trained with one seed.")
    with paper_style():
        figure = new_figure(COLUMN, HEIGHT, (*about, *notes))
        _draw(figure.add_subplot(), means)
    lines = tuple(
        {
            "backbone": chosen.backbone, "n_edits": n_edits, "prompt_length": length,
            "metric": metric, "value": own[metric].mean, "std": own[metric].std,
            "seeds": own[metric].n, "datasets": " ".join(chosen.labels),
            "protocol": chosen.protocol,
        }
        for length, own in means.items()
        for metric in METRICS
        if metric in own
    )  # fmt: skip
    return Drawing(stem="figure3", figure=figure, lines=lines, notes=notes)


def _draw(axes: Axes, means: LengthMeans) -> None:
    ticks = sorted({*LENGTHS, *means})
    for metric, (colour, marker, _, style, width) in _LINES.items():
        own = [means.get(length, {}).get(metric) for length in ticks]
        values = [float("nan") if mean is None else mean.mean for mean in own]
        spreads = [(mean and mean.std) or 0.0 for mean in own]
        axes.errorbar(
            ticks, values, yerr=spreads if any(spreads) else None, label=metric, capsize=2,
            elinewidth=0.6, color=colour, marker=marker, linestyle=style, linewidth=width,
        )  # fmt: skip
    axes.set_xticks(ticks)
    axes.set_xlim(min(ticks) - 0.4, max(ticks) + 0.4)
    axes.set_xlabel("continuous prompt tokens (CPTs) of an edit")
    axes.set_ylabel("mean over data sets (%)")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def interactive(lines: Sequence[Line]) -> Spec:
    """One panel, as in the drawing."""
    groups = [group(name, colour, symbol) for name, (colour, _, symbol, *_) in _LINES.items()]
    own = [
        series(name, [line for line in lines if line["metric"] == name], "prompt_length", "value")
        for name in _LINES
    ]
    x = {"title": "continuous prompt tokens of an edit"}
    return {"groups": groups, "panels": [panel("", x, own, "mean over data sets, %")]}
