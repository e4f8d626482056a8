"""Figure 4: continuous prompt tokens (CPTs) among word embeddings, and how near they lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.core.cells import Cell, joined
from bench.datasets import get_dataset
from bench.report.plots.captions import EMBEDDED
from bench.report.plots.drawing import Drawing, Field, new_figure
from bench.report.plots.source import Source
from bench.report.plots.style import BLACK, BLUE, GREY, ORANGE, VERMILLION, WIDTH, paper_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 3.2  # inches
# By order of the lengths: 1, 3 and 5 in the paper.
_PROMPTS = ((VERMILLION, "^"), (BLUE, "+"), (ORANGE, "x"))
_NAMES: dict[str, dict[str, Any]] = {
    "subject": {"marker": "o", "s": 9, "linewidth": 0.5, "facecolors": "none", "edgecolors": GREY},
    "object": {"marker": ".", "s": 12, "color": BLACK, "linewidth": 0},
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
    missing = (_missing(data["missing"]),) if data["missing"] else ()
    with paper_style():
        figure = new_figure(WIDTH, HEIGHT, (*_caption(data, cells[0]), *missing))
        left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
        _draw_map(left, data)
        _draw_nearness(right, data)
    return Drawing(
        stem="figure4",
        figure=figure,
        columns=COLUMNS,
        rows=tuple(_rows(data, cells[0].backbone, joined(cells))),
        notes=missing,
    )


def _draw_map(axes: Axes, data: Data) -> None:
    """The names, and every token of every prompt."""
    for role, mark in _NAMES.items():
        placed = [name["at"] for name in data["names"] if name[role]]
        x, y = zip(*placed, strict=True)
        axes.scatter(x, y, label=role, zorder=3, **mark)
    for (length, edits), (colour, marker) in zip(_lengths(data), _PROMPTS, strict=False):
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

    spaces = _spaces(data)
    lengths = [length for length, _ in _lengths(data)]
    step = 0.8 / max(len(lengths), 1)
    for place, space in enumerate(spaces):
        for i, (length, (colour, _)) in enumerate(zip(lengths, _PROMPTS, strict=False)):
            found = [one for one in _of(data, space) if one["prompt_length"] == length]
            x = place + (i - (len(lengths) - 1) / 2) * step
            low, high = (
                median(one[name] for one in found) for name in ("lower_quartile", "upper_quartile")
            )
            axes.plot([x, x], [low, high], color=colour, linewidth=4, alpha=0.35, zorder=2)
            for j, one in enumerate(found):
                shift = (j - (len(found) - 1) / 2) * step * 0.12
                axes.plot(
                    x + shift, one["median"], linestyle="none", color=colour, markersize=3,
                    marker=_START_MARKS[one.get("start") == "pca"],
                )  # fmt: skip
    axes.axhline(1, color=BLACK, linewidth=0.8, linestyle="--")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.set_xticks(range(len(spaces)), [_space_label(space) for space in spaces])
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-0.6, len(spaces) - 0.4)
    axes.set_title("distance to the nearest name\n/ distance between names")


def _lengths(data: Data) -> list[tuple[int, Any]]:
    return sorted((int(length), edits) for length, edits in data["prompts"].items())


def _spaces(data: Data) -> list[float | None]:
    """None for the embedding space, then the perplexities of the maps."""
    return list(dict.fromkeys(one.get("perplexity") for one in data["nearness"]))


def _of(data: Data, space: float | None) -> Iterator[Mapping[str, Any]]:
    return (one for one in data["nearness"] if one.get("perplexity") == space)


def _space_label(space: float | None) -> str:
    return "embedding\nspace" if space is None else f"map,\nperp. {space:g}"


def _label(length: int) -> str:
    return f"{length} CPT{'s' * (length > 1)}"


def _missing(lengths: Sequence[int]) -> str:
    return f"No weights for prompts of {', '.join(map(str, lengths))} tokens, so they are not here."


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


def _rows(data: Data, backbone: str, protocol: str) -> Iterator[tuple[Field, ...]]:
    """Positions of names, positions of tokens, then the numbers; unused columns stay empty."""
    ours: dict[str, Field] = {"backbone": backbone, "protocol": protocol}
    for name in data["names"]:
        part = "+".join(role for role in _NAMES if name[role])
        x, y = name["at"]
        yield _row(name=name["text"], x=x, y=y, part=part, **ours)
    for length, edits in _lengths(data):
        for i, edit in enumerate(edits):
            for j, (x, y) in enumerate(edit):
                place = {"prompt_length": length, "edit": i, "token": j}
                yield _row(part="prompt", x=x, y=y, **place, **ours)
    for one in data["nearness"]:
        named = {column: one[column] for column in COLUMNS if column in one}
        yield _row(part=f"nearness in {one['space']}", **named, **ours)


def _row(**fields: Field) -> tuple[Field, ...]:
    return tuple(fields.get(column) for column in COLUMNS)
