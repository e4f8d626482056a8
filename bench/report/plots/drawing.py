"""A figure: what it is drawn from, its caption, names beside its points, and its files."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.files import write_bytes
from bench.core.grids import TABLES
from bench.core.names import RECENT, in_paper
from bench.report.plots.style import DPI, GREY, SMALL, paper_style
from bench.store.results import Record
from bench.tables.figure_data import Comparable
from bench.tables.render import csv_of
from bench.tables.table import RECENT_MARK, caption_of, marked
from editors import registry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

EMBEDDED = "Embedded results test the code and the protocol, not the paper's claims."
_POINTS = 72  # in an inch
_EM = 0.53  # mean advance of DejaVu Sans over English text, in font sizes
_LEADING = 1.35  # line height, in font sizes
_PLACES = 6  # of an axes' position, in the page's width and height
# Places of a name around its point, the best first: (horizontal, vertical) direction.
_DIRECTIONS = ((1, 0), (0, 1), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))
_DISTANCES = (5.0, 8.0, 13.0, 19.0, 27.0)  # points
_LED = 8.0  # points: a name that stands further away is joined to its point
_HALF = 3.0  # points: half a marker with a little room
_THIN = 0.5  # points: likewise of an error bar

Field = str | int | float | None
Line = Mapping[str, Any]  # of a figure's numbers: column -> field; absent ones are empty


@dataclass(frozen=True, kw_only=True)
class Source:
    """Records and the prompt map's data, each read by the figures that need it.

    `edits` is None where each figure chooses its number of edits itself.
    """

    records: Callable[[], Sequence[Record]]
    prompt_map: Callable[[], Mapping[str, Any]]
    backbone: str
    edits: int | None = None


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A drawn figure with the numbers in it."""

    stem: str  # of its files
    figure: Figure
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()  # what is missing, a sentence each

    @property
    def columns(self) -> tuple[str, ...]:
        """Those of all lines."""
        return tuple(dict.fromkeys(column for line in self.lines for column in line))

    @property
    def caption(self) -> str:
        """What stands under the drawing."""
        return " ".join(self.figure.texts[0].get_text().split())

    def contents(self) -> dict[str, bytes]:
        """File name -> content of the PNG, the SVG and the CSV, the same for the same input."""
        png = self._image("png", {"Software": None})
        contents = {"png": png, "svg": self.svg(), "csv": self.csv()}
        return {f"{self.stem}.{kind}": content for kind, content in contents.items()}

    def svg(self) -> bytes:
        """The drawing."""
        return self._image("svg", {"Date": None, "Creator": None})

    def _image(self, kind: str, metadata: dict[str, None]) -> bytes:
        buffer = io.BytesIO()
        with paper_style():
            _settle(self.figure)
            self.figure.savefig(buffer, format=kind, dpi=DPI, metadata=metadata)
        return buffer.getvalue()

    def csv(self) -> bytes:
        """Its numbers."""
        rows = ([_text(line.get(column)) for column in self.columns] for line in self.lines)
        return csv_of(self.columns, rows).encode()


def _settle(figure: Figure) -> None:
    """Fix the axes where the layout puts them, in whole millionths of the page.

    The last digits of the layout's solution differ from process to process, and an SVG names its
    clip paths by them.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        place = axes.get_position(original=True)
        axes.set_position(tuple(round(value, _PLACES) for value in place.bounds))


def _text(field: Field) -> str:
    """Empty for nothing; scores and seconds in six digits, which is more than anyone draws."""
    if field is None:
        return ""
    return f"{field:.6g}" if isinstance(field, float) else str(field)


def write(drawing: Drawing, directory: Path) -> list[Path]:
    """Write a drawing's files; all are drawn before the first one is written.

    Raises:
        OSError: the directory cannot be written.
    """
    contents = drawing.contents()
    return [write_bytes(directory / name, content) for name, content in contents.items()]


def new_figure(width: float, height: float, caption: Sequence[str]) -> Figure:
    """A figure of `width` inches: `height` inches to draw in, above its caption."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = int((width - 0.1) * _POINTS / (_EM * SMALL))
    text = textwrap.fill(" ".join(caption), columns)
    below = (text.count("\n") + 1.3) * _LEADING * SMALL / _POINTS
    whole = height + below
    figure = Figure(figsize=(width, whole))
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", rect=(0, below / whole, 1, height / whole))
    figure.text(
        0.05 / width, 0.05 / whole, text, fontsize=SMALL, color=GREY, va="bottom",
        linespacing=_LEADING / 1.2,
    )  # fmt: skip
    return figure


# Captions: without backbone, data, samples, seeds and protocol the marks mean nothing.


def caption(title: str, chosen: Comparable) -> tuple[str, ...]:
    """Sentences for a figure of these records."""
    cells = chosen.cells
    about = caption_of(chosen.table or TABLES[1], cells, seeds={cell.seed for cell in cells})
    embedded = any(cell.dataset_revision.startswith("embedded") for cell in cells)
    return (title, about.measured, *([EMBEDDED] if embedded else []), about.protocol, about.seeds)


def label(editor: str) -> str:
    """An editor as tables print it, with a mark where it is not in the paper's."""
    return marked(registry.describe(editor).label, editor)


def recent_note(editors: Iterable[str], how: str = "") -> tuple[str, ...]:
    """What the mark of some of these editors means, if any has it; `how` their lines look."""
    if all(map(in_paper, editors)):
        return ()
    return (f"{RECENT_MARK}{how and f' and {how}'}: {RECENT}.",)


# Names beside points, where they cover neither each other nor a point.


@dataclass(frozen=True, kw_only=True)
class Named:
    """A point of the data with its name, and how far its error bars reach."""

    name: str
    x: float
    y: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]


_Place = tuple[float, int, int]  # of a name: points from its point, and the direction


def place_names(figure: Figure, axes: Axes, points: Sequence[Named], size: float) -> None:
    """Write each point's name beside it, in the order given; the axes keep their limits.

    A name takes the nearest place inside the axes that is free of names, points and error bars,
    else the one that covers least. All marks are drawn before; `size` is the letters', in points.
    """
    figure.draw_without_rendering()  # settles where the axes are
    taken = [box for point in points for box in _marks(axes, point, figure.dpi / 72)]
    places = [(distance, *direction) for distance in _DISTANCES for direction in _DIRECTIONS]
    for point in points:
        boxes = []
        for place in places:
            text = _annotate(axes, point, place, size, led=False)
            boxes.append(text.get_window_extent())
            text.remove()
        costs = [
            _cost(box, taken, axes.bbox) + _mistaken(box, axes, point, points) for box in boxes
        ]
        best = costs.index(min(costs))
        taken.append(boxes[best])
        _annotate(axes, point, places[best], size, led=places[best][0] > _LED)


def _annotate(axes: Axes, point: Named, place: _Place, size: float, *, led: bool) -> Annotation:
    """Write the name of a point, `led` with a thin line from it."""
    distance, right, up = place
    text = axes.annotate(
        point.name, (point.x, point.y), xytext=(distance * right, distance * up),
        textcoords="offset points", ha={1: "left", 0: "center", -1: "right"}[right],
        va={1: "bottom", 0: "center", -1: "top"}[up], fontsize=size,
        arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.4} if led else None,
    )  # fmt: skip
    text.set_in_layout(False)
    return text


def _marks(axes: Axes, point: Named, scale: float) -> Iterator[Bbox]:
    """Pixels of the marker and of both error bars."""
    from matplotlib.transforms import Bbox

    ends = zip(point.x_range, point.y_range, strict=True)
    (x, y), low, high = axes.transData.transform([(point.x, point.y), *ends])
    half, thin = _HALF * scale, _THIN * scale
    yield Bbox.from_extents(x - half, y - half, x + half, y + half)
    yield Bbox.from_extents(low[0] - thin, y - thin, high[0] + thin, y + thin)
    yield Bbox.from_extents(x - thin, low[1] - thin, x + thin, high[1] + thin)


def _cost(box: Bbox, taken: Sequence[Bbox], inside: Bbox) -> float:
    """Area in pixels that a name would cover, or that would lie outside of the axes."""
    covered = sum(_shared(box, other) for other in taken)
    return covered + float(box.width * box.height) - _shared(box, inside)


def _shared(box: Bbox, other: Bbox) -> float:
    width = min(box.x1, other.x1) - max(box.x0, other.x0)
    height = min(box.y1, other.y1) - max(box.y0, other.y0)
    return float(max(width, 0.0) * max(height, 0.0))


def _mistaken(box: Bbox, axes: Axes, own: Named, points: Sequence[Named]) -> float:
    """The name's area where another point is nearer to it than its own."""
    places = axes.transData.transform([(point.x, point.y) for point in (own, *points)])
    first, *others = (
        math.hypot(max(box.x0 - x, 0.0, x - box.x1), max(box.y0 - y, 0.0, y - box.y1))
        for x, y in places
    )  # pixels to the nearest place of the box
    return float(box.width * box.height) if any(other < first for other in others) else 0.0
