"""A figure to files: PNG, SVG and its numbers as CSV, the same bytes for the same input."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.console import csv_cell
from bench.core.files import write_bytes
from bench.report.plots.style import DPI, GREY, SMALL, paper_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Field = str | int | float | None
_POINTS = 72  # in an inch
_EM = 0.53  # mean advance of DejaVu Sans over English text, in font sizes
_LEADING = 1.35  # line height, in font sizes
_PLACES = 6  # of an axes' position, in the page's width and height


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A drawn figure with the numbers in it."""

    stem: str  # of its files
    figure: Figure
    columns: tuple[str, ...]
    rows: tuple[tuple[Field, ...], ...]
    notes: tuple[str, ...] = ()  # what is missing, a sentence each

    def contents(self) -> dict[str, bytes]:
        """File name -> content of the PNG, the SVG and the CSV."""
        return {
            f"{self.stem}.png": self._image("png", {"Software": None}),
            f"{self.stem}.svg": self.svg(),
            f"{self.stem}.csv": self.csv(),
        }

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
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_text(field) for field in row] for row in self.rows)
        return buffer.getvalue().encode()


def write(drawing: Drawing, directory: Path) -> list[Path]:
    """Write a drawing's files; all are made before the first one is written.

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


def _settle(figure: Figure) -> None:
    """Keep the axes where the layout puts them, in whole millionths of the page.

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
    return f"{field:.6g}" if isinstance(field, float) else csv_cell(str(field))
