"""Figure 4: continuous prompt tokens (CPTs) among word embeddings, and how near they lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.core.cells import Cell, joined
from bench.datasets import get_dataset
from bench.report.plots.drawing import EMBEDDED, Drawing, Line, Source, new_figure
from bench.report.plots.interactive import Spec, by, group, panel, points
from bench.report.plots.style import BLACK, BLUE, GREY, ORANGE, VERMILLION, WIDTH, paper_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 3.2  # inches
# By order of the lengths, 1, 3 and 5 in the paper: colour, marker, symbol of the interactive form.
_PROMPTS = ((VERMILLION, "^", "triangle-up"), (BLUE, "+", "cross"), (ORANGE, "x", "x"))
_NAMES: dict[str, dict[str, Any]] = {
    "subject": {"marker": "o", "s": 9, "linewidth": 0.5, "facecolors": "none", "edgecolors": GREY},
    "object": {"marker": ".", "s": 12, "color": BLACK, "linewidth": 0},
}
_SYMBOLS = {
    "subject": (GREY, "circle-open"),
    "object": (BLACK, "circle"),
    "subject+object": (GREY, "diamond"),
}
_START_MARKS = {True: "D", False: "o"}  # from principal components, from noise
COLUMNS = (
    "part", "backbone", "prompt_length", "edit", "token", "name", "x", "y", "perplexity", "start",
    "within", "lower_quartile", "median", "upper_quartile", "protocol",
)  # fmt: skip

Data = Mapping[str, Any]


def build(source: Source) -> Drawing:
    """The drawn map beside the numbers of all maps and of the embedding space.

    Raises:
        ValueError: the data are of another backbone.
    """
    data = source.prompt_map()
    cells = [Cell.from_dict(cell) for cell in data["cells"].values()]
    if cells[0].backbone != source.backbone:
        raise ValueError(
            f"The data of Figure 4 are of {cells[0].backbone}, not of {source.backbone}; "
            f"--backbone {cells[0].backbone} draws them."
        )
    absent = ", ".join(map(str, data["missing"]))
    notes = (f"No weights for prompts of {absent} tokens, so they are not here.",) if absent else ()
    with paper_style():
        figure = new_figure(WIDTH, HEIGHT, (*_caption(data, cells[0]), *notes))
        left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
        _draw_map(left, data)
        _draw_nearness(right, data)
    ours = {"backbone": cells[0].backbone, "protocol": joined(cells)}
    lines = tuple(dict.fromkeys(COLUMNS) | line | ours for line in _lines(data))
    return Drawing(stem="figure4", figure=figure, lines=lines, notes=notes)


def _draw_map(axes: Axes, data: Data) -> None:
    """The names, and every token of every prompt."""
    for role, mark in _NAMES.items():
        placed = [name["at"] for name in data["names"] if name[role]]
        x, y = zip(*placed, strict=True)
        axes.scatter(x, y, label=role, zorder=3, **mark)
    for (length, edits), (colour, marker, _) in zip(_lengths(data), _PROMPTS, strict=False):
        placed = [token for edit in edits for token in edit]
        x, y = zip(*placed, strict=True)
        axes.scatter(x, y, s=9, label=_label(length), marker=marker, color=colour, linewidth=0.6)
    axes.set_title(f"t-SNE, perplexity {data['settings']['drawn_perplexity']:g}")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[["top", "right"]].set_visible(True)
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=5, handletextpad=0.2,
        columnspacing=1.0, markerscale=1.3,
    )  # fmt: skip


def _draw_nearness(axes: Axes, data: Data) -> None:
    """A group per space: for each length its median ratio in every map, and a bar of quartiles."""
    from matplotlib.ticker import LogLocator

    # None for the embedding space, then the perplexities of the maps.
    spaces = list(dict.fromkeys(ratio.get("perplexity") for ratio in data["nearness"]))
    lengths = [length for length, _ in _lengths(data)]
    step = 0.8 / max(len(lengths), 1)
    for place, space in enumerate(spaces):
        for i, (length, (colour, *_)) in enumerate(zip(lengths, _PROMPTS, strict=False)):
            ratios = [
                ratio
                for ratio in data["nearness"]
                if (ratio.get("perplexity"), ratio["prompt_length"]) == (space, length)
            ]
            x = place + (i - (len(lengths) - 1) / 2) * step
            low, high = (
                median(ratio[name] for ratio in ratios)
                for name in ("lower_quartile", "upper_quartile")
            )
            axes.plot([x, x], [low, high], color=colour, linewidth=4, alpha=0.35, zorder=2)
            for j, ratio in enumerate(ratios):
                shift = (j - (len(ratios) - 1) / 2) * step * 0.12
                axes.plot(
                    x + shift, ratio["median"], linestyle="none", color=colour, markersize=3,
                    marker=_START_MARKS[ratio.get("start") == "pca"],
                )  # fmt: skip
    axes.axhline(1, color=BLACK, linewidth=0.8, linestyle="--")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    names = ["embedding\nspace" if space is None else f"map,\nperp. {space:g}" for space in spaces]
    axes.set_xticks(range(len(spaces)), names)
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-0.6, len(spaces) - 0.4)
    axes.set_title("distance to the nearest name\n/ distance between names")


def _lengths(data: Data) -> list[tuple[int, Any]]:
    return sorted((int(length), edits) for length, edits in data["prompts"].items())


def _label(length: int) -> str:
    return f"{length} CPT{'s' * (length > 1)}"


def _caption(data: Data, cell: Cell) -> tuple[str, ...]:
    settings = data["settings"]
    lengths = ", ".join(str(length) for length, _ in _lengths(data))
    noise = sum(start != "pca" for start in settings["starts"])
    what = (
        f"Figure 4: word embeddings of the subjects and objects of {settings['edits']:,} edits of "
        f"{get_dataset(cell.dataset).label} (seed {settings['seed']}; a name of several tokens is "
        "their mean), and the continuous prompt tokens (CPTs) that RECIPE makes of these edits, "
        f"with prompts of {lengths} tokens, in one map begun from principal components."
    )
    where = (
        f"{cell.backbone} ({cell.dtype}), data: {cell.dataset_revision}, protocol "
        f"{cell.protocol_id}."
    )
    ratios = (
        "Right: for each CPT the distance to its nearest name over the median distance of a name "
        "to its nearest other name; at the dashed line CPTs lie as near to names as names do to "
        "each other. Marks: medians over CPTs, in maps begun from principal components (diamonds) "
        f"or from {noise} seeds of noise (dots); bars: lower to upper quartile; in each group from "
        f"left to right {lengths} CPTs."
    )
    embedded = cell.dataset_revision.startswith("embedded")
    return (what, where, *([EMBEDDED] if embedded else []), ratios)


def _lines(data: Data) -> Iterator[dict[str, Any]]:
    """Positions of names, positions of tokens, then the numbers."""
    for name in data["names"]:
        x, y = name["at"]
        part = "+".join(role for role in _NAMES if name[role])
        yield {"part": part, "name": name["text"], "x": x, "y": y}
    for length, edits in _lengths(data):
        for i, edit in enumerate(edits):
            for j, (x, y) in enumerate(edit):
                place = {"prompt_length": length, "edit": i, "token": j}
                yield {"part": "prompt", "x": x, "y": y, **place}
    for ratio in data["nearness"]:
        own = {name: value for name, value in ratio.items() if name in COLUMNS}
        yield {"part": f"nearness in {ratio['space']}", **own}


def interactive(lines: Sequence[Line]) -> Spec:
    """Names, and tokens of prompts of each length, in one map."""
    names = [line for line in lines if line["name"] is not None]
    groups = [group(part, *_SYMBOLS[part]) for part, _ in by(names, "part") if part in _SYMBOLS]
    own = [points(part, placed, "name") for part, placed in by(names, "part")]
    prompts = by((line for line in lines if line["part"] == "prompt"), "prompt_length")
    for (length, placed), (colour, _, symbol) in zip(prompts, _PROMPTS, strict=False):
        groups.append(group(_label(int(length)), colour, symbol))
        own.append(points(_label(int(length)), placed, "edit"))
    bare = {"title": "", "bare": True}
    return {"groups": groups, "panels": [panel("", bare, own, "") | {"y": bare, "tall": True}]}
