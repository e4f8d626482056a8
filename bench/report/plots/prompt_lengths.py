"""Figure 3: RECIPE's metrics against the number of its continuous prompt tokens (CPTs)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.core.grids import LENGTHS
from bench.datasets import get_dataset
from bench.report.plots.captions import caption
from bench.report.plots.drawing import Drawing, Field, new_figure
from bench.report.plots.source import Source
from bench.report.plots.style import BLACK, BLUE, COLUMN, ORANGE, VERMILLION, paper_style
from bench.tables.figure_data.alike import Plan
from bench.tables.figure_data.prompt_lengths import EDITS, Points, drawn, lengths
from bench.tables.tabulate import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


HEIGHT = 2.5  # inches
_LINES: dict[str, dict[str, Any]] = {
    "Rel": {"color": BLUE, "marker": "o", "linestyle": "-"},
    "Gen": {"color": VERMILLION, "marker": "s", "linestyle": "--"},
    "Loc": {"color": ORANGE, "marker": "^", "linestyle": "-."},
    "Avg": {"color": BLACK, "marker": "D", "linestyle": "-", "linewidth": 1.6},
}
COLUMNS = (
    "backbone",
    "n_edits",
    "prompt_length",
    "metric",
    "value",
    "std",
    "seeds",
    "datasets",
    "protocol",
)


def build(source: Source) -> Drawing:
    """Metrics after `source.edits` edits (the paper's 1,000 by default), a mark per length.

    Raises:
        ValueError: no length has records of all data sets at this number of edits.
    """
    n_edits = source.edits or EDITS
    chosen = drawn(source.records(), source.backbone, n_edits)
    points = lengths(chosen, chosen.datasets)
    if not points:
        raise ValueError(
            f"Figure 3 needs records of all data sets at {n_edits:,} edits for one length of "
            "continuous prompts at least."
        )
    absent = [length for length in LENGTHS if length not in points]
    with paper_style():
        figure = new_figure(COLUMN, HEIGHT, _caption(chosen, points, n_edits))
        _draw(figure.add_subplot(), points)
    return Drawing(
        stem="figure3",
        figure=figure,
        columns=COLUMNS,
        rows=tuple(_rows(chosen, points, n_edits)),
        notes=(_missing(absent),) if absent else (),
    )


def _draw(axes: Axes, points: Points) -> None:
    ticks = sorted({*LENGTHS, *points})
    for column, line in _LINES.items():
        found = [points.get(length, {}).get(column) for length in ticks]
        values = [float("nan") if one is None else one.mean for one in found]
        spreads = [0.0 if one is None or one.std is None else one.std for one in found]
        axes.errorbar(
            ticks, values, yerr=spreads if any(spreads) else None, label=column, capsize=2,
            elinewidth=0.6, **line,
        )  # fmt: skip
    axes.set_xticks(ticks)
    axes.set_xlim(min(ticks) - 0.4, max(ticks) + 0.4)
    axes.set_xlabel("continuous prompt tokens (CPTs) of an edit")
    axes.set_ylabel("mean over data sets (%)")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _caption(chosen: Plan, points: Points, n_edits: int) -> tuple[str, ...]:
    names = ", ".join(get_dataset(key).label for key in chosen.datasets)
    absent = [length for length in LENGTHS if length not in points]
    return (
        *caption(
            f"Figure 3: RECIPE after {n_edits:,} edits against the length of its continuous "
            f"prompts, mean over {names}.",
            chosen,
        ),
        "Each length has weights of its own, trained with one seed.",
        *([_missing(absent)] if absent else []),
    )


def _missing(absent: Sequence[int]) -> str:
    listed = ", ".join(map(str, absent))
    return f"No record of all data sets for {listed} CPTs."


def _rows(chosen: Plan, points: Points, n_edits: int) -> list[tuple[Field, ...]]:
    names = " ".join(get_dataset(key).label for key in chosen.datasets)
    return [
        (chosen.backbone, n_edits, length, column, one.mean, one.std, one.n, names, chosen.protocol)
        for length, found in points.items()
        for column in METRICS
        if (one := found.get(column)) is not None
    ]
