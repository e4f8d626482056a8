"""Figure 1: the three families of editors, by where an edit is stored. It needs no records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.core.names import editor_keys
from bench.report.plots.drawing import Drawing, Source, new_figure
from bench.report.plots.style import BLACK, BLUE, GREY, ORANGE, VERMILLION, WIDTH, paper_style
from editors import registry

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 2.3  # inches
# Family -> title, colour of what holds the edits, the text in it, where it is in the panel.
_FAMILIES = {
    "MP": ("modify parameters", VERMILLION, "edited\nweights", (0.38, 0.40, 0.24, 0.22)),
    "AP": ("add parameters", ORANGE, "further\nneurons", (0.78, 0.40, 0.22, 0.22)),
    "RB": ("retrieve", BLUE, "stored\nedits", (0.00, 0.40, 0.22, 0.22)),
}
_MODEL = (0.34, 0.24, 0.32, 0.54)  # left, bottom, width, height
_ROUND = "round,pad=0,rounding_size=0.03"
TITLE = "Figure 1: three families of editors, by where they store an edit."
ABOUT = (
    "MP changes weights of the model, AP puts further parameters beside them, RB leaves the model "
    "as it is and adds what it retrieves for a query. The editors are the paper's."
)


def build(_: Source) -> Drawing:
    """A panel for each family, with the labels of its editors."""
    members = {family: _editors(family) for family in _FAMILIES}
    with paper_style():
        figure = new_figure(WIDTH, HEIGHT, (TITLE, ABOUT))
        for axes, family in zip(figure.subplots(1, len(_FAMILIES)), _FAMILIES, strict=True):
            _draw(axes, family, members[family])
    lines = tuple(
        {"family": family, "stores": _FAMILIES[family][0], "editor": label}
        for family, labels in members.items()
        for label in labels
    )
    return Drawing(stem="figure1", figure=figure, lines=lines)


def _editors(family: str) -> list[str]:
    entries = map(registry.describe, editor_keys())
    return [entry.label for entry in entries if entry.family == family]


def _draw(axes: Axes, family: str, labels: Sequence[str]) -> None:
    title, colour, text, place = _FAMILIES[family]
    axes.set(xlim=(0, 1), ylim=(0, 1), title=f"{family}: {title}")
    axes.axis("off")
    _box(axes, _MODEL, GREY, "" if family == "MP" else "language\nmodel", dashed=False)
    _box(axes, place, colour, text, dashed=family != "MP")
    for start, end, word in (((0.5, 0.14), 0.24, "query"), ((0.5, 0.78), 0.90, "answer")):
        up = {"arrowstyle": "->", "color": BLACK}
        axes.annotate("", (0.5, end), start, arrowprops=up)
        axes.text(0.54, (start[1] + end) / 2, word, va="center", fontsize="small")
    if family != "MP":
        near, far = (0.34, 0.22) if family == "RB" else (0.78, 0.66)
        axes.annotate("", (near, 0.51), (far, 0.51), arrowprops={"arrowstyle": "<->"})
    axes.text(0.5, 0.05, ", ".join(labels), ha="center", va="center", fontsize="small")


def _box(
    axes: Axes, place: tuple[float, float, float, float], colour: str, text: str, *, dashed: bool
) -> None:
    from matplotlib.patches import FancyBboxPatch

    left, bottom, width, height = place
    patch = FancyBboxPatch(
        (left, bottom), width, height, boxstyle=_ROUND, edgecolor=colour, facecolor="white",
        linewidth=1.2, linestyle="--" if dashed else "-",
    )  # fmt: skip
    axes.add_patch(patch)
    axes.text(
        left + width / 2, bottom + height / 2, text, ha="center", va="center", color=BLACK,
        fontsize="small",
    )  # fmt: skip
