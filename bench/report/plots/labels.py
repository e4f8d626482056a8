"""Names beside points, where they cover neither each other nor a point."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.report.plots.style import GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

# Places around a point, the best first: (horizontal, vertical) direction.
_DIRECTIONS = ((1, 0), (0, 1), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))
_DISTANCES = (5.0, 8.0, 13.0, 19.0, 27.0)  # points
_LED = 8.0  # points: a name that stands further away is joined to its point
_HALF = 3.0  # points: half a marker with a little room
_THIN = 0.5  # points: likewise of an error bar


@dataclass(frozen=True, kw_only=True)
class Named:
    """A point of the data with its name, and how far its error bars reach."""

    name: str
    x: float
    y: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]


@dataclass(frozen=True)
class _Place:
    """A place of a name relative to its point."""

    distance: float  # points
    right: int
    up: int

    def annotate(self, axes: Axes, point: Named, size: float, *, led: bool) -> Annotation:
        """Write the name here, `led` with a thin line from the point."""
        text = axes.annotate(
            point.name,
            (point.x, point.y),
            xytext=(self.distance * self.right, self.distance * self.up),
            textcoords="offset points",
            ha={1: "left", 0: "center", -1: "right"}[self.right],
            va={1: "bottom", 0: "center", -1: "top"}[self.up],
            fontsize=size,
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.4} if led else None,
        )
        text.set_in_layout(False)
        return text

    def box(self, axes: Axes, point: Named, size: float) -> Bbox:
        """Pixels that the name would take here."""
        text = self.annotate(axes, point, size, led=False)
        found = text.get_window_extent()
        text.remove()
        return found


def place_names(figure: Figure, axes: Axes, points: Sequence[Named], size: float) -> None:
    """Write each point's name beside it, in the order given; the axes keep their limits.

    A name takes the nearest place inside the axes that is free of names, points and error bars,
    else the one that covers least.

    Args:
        figure: the one of the axes.
        axes: with all marks drawn.
        points: what gets a name.
        size: of the letters, in points.
    """
    figure.draw_without_rendering()  # settles where the axes are
    taken = [box for point in points for box in _marks(axes, point, figure.dpi / 72)]
    places = [_Place(distance, *direction) for distance in _DISTANCES for direction in _DIRECTIONS]
    for point in points:
        boxes = [place.box(axes, point, size) for place in places]
        costs = [
            _cost(box, taken, axes.bbox) + _mistaken(box, axes, point, points) for box in boxes
        ]
        best = costs.index(min(costs))
        taken.append(boxes[best])
        places[best].annotate(axes, point, size, led=places[best].distance > _LED)


def _marks(axes: Axes, point: Named, scale: float) -> Iterator[Bbox]:
    """Pixels of the marker and of both error bars."""
    (x, y), low, high = axes.transData.transform(
        [
            (point.x, point.y),
            (point.x_range[0], point.y_range[0]),
            (point.x_range[1], point.y_range[1]),
        ]
    )
    half, thin = _HALF * scale, _THIN * scale
    yield _box(x - half, y - half, x + half, y + half)
    yield _box(low[0] - thin, y - thin, high[0] + thin, y + thin)
    yield _box(x - thin, low[1] - thin, x + thin, high[1] + thin)


def _cost(box: Bbox, taken: Sequence[Bbox], inside: Bbox) -> float:
    """Area in pixels that a name would cover, or that would lie outside of the axes."""
    covered = sum(_shared(box, other) for other in taken)
    return covered + float(box.width * box.height) - _shared(box, inside)


def _mistaken(box: Bbox, axes: Axes, own: Named, points: Sequence[Named]) -> float:
    """The name's area where another point is nearer to it than its own."""
    places = axes.transData.transform([(point.x, point.y) for point in (own, *points)])
    first, *others = (_distance(box, x, y) for x, y in places)
    return float(box.width * box.height) if any(other < first for other in others) else 0.0


def _distance(box: Bbox, x: float, y: float) -> float:
    """Pixels from a point to the nearest place of a box."""
    return math.hypot(max(box.x0 - x, 0.0, x - box.x1), max(box.y0 - y, 0.0, y - box.y1))


def _shared(one: Bbox, other: Bbox) -> float:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return float(max(width, 0.0) * max(height, 0.0))


def _box(left: float, low: float, right: float, high: float) -> Bbox:
    from matplotlib.transforms import Bbox

    return Bbox.from_extents(left, low, right, high)
