"""Time against quality: the median seconds of one edit and the Avg after all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from bench.core.numerics import Spread
from bench.datasets import get_dataset
from bench.report.plots.captions import caption, label, labels, recent_note
from bench.report.plots.drawing import Drawing, Field, new_figure
from bench.report.plots.labels import Named, place_names
from bench.report.plots.source import Source
from bench.report.plots.style import COLUMN, marks, paper_style
from bench.store.results import Record
from bench.tables.figure_data.alike import Plan, common_edits, plan
from bench.tables.figure_data.means import over_datasets
from editors import registry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRIC = "Avg"
HEIGHT = 2.8  # inches
NAME_SIZE = 7.0  # points
COLUMNS = (
    "backbone",
    "n_edits",
    "type",
    "editor",
    "edit_seconds",
    "lower_quartile",
    "upper_quartile",
    "avg",
    "std",
    "seeds",
    "datasets",
    "protocol",
)


@dataclass(frozen=True, kw_only=True)
class Point:
    """An editor: quartiles of the seconds of one edit, and its mean Avg in percent."""

    editor: str  # key
    seconds: tuple[float, float, float]
    value: Spread


def build(source: Source) -> Drawing:
    """One point per editor at `source.edits` edits, by default the most that all editors have.

    Raises:
        ValueError: no editor has records of all data sets at this number of edits.
    """
    whole = plan(source.records(), source.backbone)
    n_edits = source.edits or common_edits(whole.cells)
    chosen = Plan(tuple(whole.of(n_edits=n_edits)))
    points = tuple(_points(chosen))
    if not points:
        raise ValueError(
            f"The figure of times needs records of all data sets at {n_edits:,} edits for one "
            f"editor at least, on {source.backbone}."
        )
    present = [point.editor for point in points]
    absent = [key for key in whole.editors if key not in present]
    missing = (f"Not at {n_edits:,} edits on all data sets: {labels(absent)}.",) if absent else ()
    with paper_style():
        figure = new_figure(COLUMN, HEIGHT, (*_caption(chosen, n_edits), *missing))
        _draw(figure, points)
    names = " ".join(get_dataset(key).label for key in chosen.datasets)
    return Drawing(
        stem="time",
        figure=figure,
        columns=COLUMNS,
        rows=tuple(_row(point, chosen, n_edits, names) for point in points),
        notes=missing,
    )


def _points(chosen: Plan) -> Iterator[Point]:
    for key in chosen.editors:
        records = chosen.of(editor=key)
        found = over_datasets(records, chosen.datasets).get(METRIC)
        if found is not None:
            yield Point(editor=key, seconds=_seconds(records), value=found)


def _seconds(records: Sequence[Record]) -> tuple[float, float, float]:
    """Quartiles of the seconds of one edit, each the median over data sets and seeds."""
    low, middle, high = (median(record["edit_seconds"][i] for record in records) for i in range(3))
    return low, middle, high


def _draw(figure: Figure, points: Sequence[Point]) -> None:
    axes = figure.add_subplot()
    styles = marks([point.editor for point in points])
    for point in points:
        mark, (low, middle, high) = styles[point.editor], point.seconds
        axes.errorbar(
            [middle], [point.value.mean], point.value.std, [[middle - low], [high - middle]],
            fmt=mark.marker, color=mark.colour, markersize=mark.size + 1, elinewidth=0.6,
            markerfacecolor="white" if mark.hollow else mark.colour,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel("median time of one edit (s); bars: quartiles")
    axes.set_ylabel("Avg, mean over data sets (%)")
    axes.set_ylim(-4, 104)
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter("{x:g}")
    place_names(figure, axes, [_named(point) for point in points], NAME_SIZE)


def _named(point: Point) -> Named:
    low, middle, high = point.seconds
    mean, std = point.value.mean, point.value.std or 0.0
    return Named(
        name=label(point.editor), x=middle, y=mean,
        x_range=(low, high), y_range=(mean - std, mean + std),
    )  # fmt: skip


def _caption(chosen: Plan, n_edits: int) -> tuple[str, ...]:
    names = ", ".join(get_dataset(key).label for key in chosen.datasets)
    title = (
        f"Average of reliability, generality and locality after {n_edits:,} edits (mean over "
        f"{names}) against the time of one edit."
    )
    timed = f"Timed on {_hardware(chosen.records)}."
    return (*caption(title, chosen), timed, *recent_note(chosen.editors, "hollow"))


def _hardware(records: Sequence[Record]) -> str:
    """`AMD EPYC, 1 thread`: every kind of machine that the records were made on."""
    found: dict[str, None] = {}
    for record in records:
        made = record["provenance"]
        parts, threads = made["hardware"], made["threads"]
        device = parts.get("accelerator", parts["processor"])
        found[f"{device}, {threads} thread{'s' * (threads > 1)}"] = None
    return "; ".join(found)


def _row(point: Point, chosen: Plan, n_edits: int, datasets: str) -> tuple[Field, ...]:
    entry, (low, middle, high) = registry.describe(point.editor), point.seconds
    return (
        chosen.backbone, n_edits, entry.family, entry.label, middle, low, high,
        point.value.mean, point.value.std, point.value.n, datasets, chosen.protocol,
    )  # fmt: skip
