"""Retention: reliability of an edit by its age, the number of edits that came after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from bench.datasets import get_dataset
from bench.report.plots.captions import caption, label, labels, recent_note
from bench.report.plots.drawing import Drawing, Field, new_figure
from bench.report.plots.source import Source
from bench.report.plots.style import BLACK, BLUE, ORANGE, PURPLE, VERMILLION, WIDTH, paper_style
from bench.store.results import Record
from bench.tables.figure_data.alike import Plan, common_edits, plan
from editors import registry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ASPECT = "reliability"
ACROSS = 4  # panels in a row
ROW_HEIGHT, LEGEND_HEIGHT = 1.25, 0.25  # inches
MEAN = "mean"
COLUMNS = (
    "backbone",
    "n_edits",
    "type",
    "editor",
    "dataset",
    "age_from",
    "age_to",
    "samples",
    "rel",
    "protocol",
)
_LINES: tuple[dict[str, Any], ...] = (
    {"color": BLUE, "marker": "o", "linestyle": "-"},
    {"color": VERMILLION, "marker": "s", "linestyle": "--"},
    {"color": ORANGE, "marker": "^", "linestyle": "-."},
    {"color": PURPLE, "marker": "v", "linestyle": ":"},
)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Edits of about the same age, of one editor on one data set (or their mean)."""

    editor: str  # key
    dataset: str  # key, or MEAN
    first: int  # edits that came after the youngest of them
    last: int  # and after the oldest
    samples: int
    value: float  # percent


def build(source: Source) -> Drawing:
    """A panel per editor at `source.edits` edits, by default the most that all editors have.

    Raises:
        ValueError: no records at this number of edits, or only of single edits, which do not age.
    """
    whole = plan(source.records(), source.backbone)
    n_edits = source.edits or common_edits(whole.cells)
    chosen = Plan(tuple(whole.of(n_edits=n_edits)))
    if n_edits == 1:
        raise ValueError("The figure of retention needs records at more than one edit.")
    if not chosen.records:
        raise ValueError(
            f"The figure of retention needs records at {n_edits:,} edits on {source.backbone}, "
            "there are none."
        )
    groups = tuple(_groups(chosen))
    absent = [key for key in whole.editors if key not in chosen.editors]
    missing = (f"Not at {n_edits:,} edits: {labels(absent)}.",) if absent else ()
    with paper_style():
        rows = -(-len(chosen.editors) // ACROSS)
        above = 0.0 if _spare(chosen) else LEGEND_HEIGHT
        height = ROW_HEIGHT * rows + 0.2 + above
        figure = new_figure(WIDTH, height, (*_caption(chosen, n_edits), *missing))
        _draw(figure, chosen, groups, rows)
    return Drawing(
        stem="retention",
        figure=figure,
        columns=COLUMNS,
        rows=tuple(_row(group, chosen, n_edits) for group in groups),
        notes=missing,
    )


def _groups(chosen: Plan) -> Iterator[Group]:
    """Groups of each data set over all seeds, then their mean where an editor has several."""
    for editor in chosen.editors:
        by_age: dict[tuple[int, int], list[Group]] = {}
        for dataset in chosen.datasets:
            records = [r for r in chosen.of(editor=editor) if r["cell"]["dataset"] == dataset]
            for group in _merged(editor, dataset, records):
                by_age.setdefault((group.first, group.last), []).append(group)
                yield group
        if len(chosen.datasets) > 1:
            yield from _means(editor, by_age, len(chosen.datasets))


def _merged(editor: str, dataset: str, records: Sequence[Record]) -> Iterator[Group]:
    """One group per age, samples of all seeds alike."""
    by_age: dict[tuple[int, int], list[Mapping[str, float]]] = {}
    for record in records:
        for one in record["by_age"]:
            by_age.setdefault((one["from"], one["to"]), []).append(one)
    for (first, last), parts in sorted(by_age.items()):
        samples = int(sum(part["samples"] for part in parts))
        value = sum(part[ASPECT] * part["samples"] for part in parts) / samples
        yield Group(
            editor=editor, dataset=dataset, first=first, last=last, samples=samples,
            value=100 * value,
        )  # fmt: skip


def _means(
    editor: str, by_age: Mapping[tuple[int, int], Sequence[Group]], datasets: int
) -> Iterator[Group]:
    """Mean over the data sets, of ages that all of them have."""
    for (first, last), groups in by_age.items():
        if len(groups) == datasets:
            yield Group(
                editor=editor, dataset=MEAN, first=first, last=last,
                samples=sum(group.samples for group in groups),
                value=fmean(group.value for group in groups),
            )  # fmt: skip


def _draw(figure: Figure, chosen: Plan, groups: Sequence[Group], rows: int) -> None:
    panels = figure.subplots(rows, ACROSS, sharex=True, sharey=True, squeeze=False)
    for key, axes in zip(chosen.editors, panels.flat, strict=False):
        _draw_panel(axes, [group for group in groups if group.editor == key], chosen.datasets)
        axes.set_title(f"{label(key)} ({registry.describe(key).family})")
    handles, names = panels[0, 0].get_legend_handles_labels()
    spare = list(panels.flat)[len(chosen.editors) :]
    for axes in spare:
        axes.set_axis_off()
    if spare:
        spare[-1].legend(handles, names, loc="center", handlelength=3.0)
    else:
        figure.legend(handles, names, loc="outside upper center", ncols=4, handlelength=3.0)
    for axes in panels[:, 0]:
        axes.set_ylabel("Rel (%)")
    for axes in list(panels.flat)[: len(chosen.editors)][-ACROSS:]:  # the lowest of each column
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("edits that came after")


def _spare(chosen: Plan) -> int:
    """Places of the last row that no editor takes; the legend takes one, or stands above."""
    return -len(chosen.editors) % ACROSS


def _draw_panel(axes: Axes, groups: Sequence[Group], datasets: Sequence[str]) -> None:
    for key, line in zip(datasets, _LINES, strict=False):
        _draw_line(
            axes, (g for g in groups if g.dataset == key), label=get_dataset(key).label,
            linewidth=0.7, markersize=2.2, alpha=0.8, **line,
        )  # fmt: skip
    _draw_line(
        axes, (g for g in groups if g.dataset == MEAN), label="mean", color=BLACK, linewidth=1.6
    )
    axes.set_ylim(-4, 104)


def _draw_line(axes: Axes, groups: Iterable[Group], **line: Any) -> None:
    """A line through the middles of the ages."""
    points = [((group.first + group.last) / 2, group.value) for group in groups]
    if points:
        axes.plot(*zip(*points, strict=True), **line)


def _caption(chosen: Plan, n_edits: int) -> tuple[str, ...]:
    per_group = {one["samples"] for r in chosen.records for one in r["by_age"]}
    title = (
        f"Reliability after {n_edits:,} edits by the age of the edit: the number of edits that "
        f"came after it, in groups of {_range(per_group)} samples per data set and seed."
    )
    return (*caption(title, chosen), *recent_note(chosen.editors))


def _range(counts: Iterable[int]) -> str:
    low, high = min(found := list(counts)), max(found)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _row(group: Group, chosen: Plan, n_edits: int) -> tuple[Field, ...]:
    entry = registry.describe(group.editor)
    name = MEAN if group.dataset == MEAN else get_dataset(group.dataset).label
    protocol = chosen.protocol if group.dataset == MEAN else chosen.protocols[group.dataset]
    return (
        chosen.backbone, n_edits, entry.family, entry.label, name, group.first, group.last,
        group.samples, group.value, protocol,
    )  # fmt: skip
