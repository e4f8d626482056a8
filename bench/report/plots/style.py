"""How figures look: sizes for print, and marks that do without a difference of red and green.

Colours are those of Okabe and Ito, "Color Universal Design" (2008), without its yellow, which is
too pale on white. No two editors share a marker, so that black-and-white print tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from bench.core.grids import RECIPE
from bench.core.names import editor_keys, in_paper
from editors import registry

BLACK, GREY = "#000000", "#767676"  # grey has 4.5:1 on white
ORANGE, SKY, GREEN = "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY)
# Of editors that are not in the paper's tables: from Paul Tol's muted scheme, "Colour Schemes".
RECENT_COLOURS = ("#882255", "#999933", "#44AA99", "#332288", "#AA4499")
MARKERS = ("o", "s", "^", "v", "D", "P", "X", "<", ">", "h", "p", "d", "8", "H", "+", "x")
# Line styles by family: what modifies parameters, adds some, or retrieves.
Dashes = str | tuple[float, tuple[float, ...]]
DASHES: dict[str, Dashes] = {"MP": "-", "AP": (0, (5, 1.5, 1, 1.5)), "RB": (0, (4, 1.5))}
DOTTED: Dashes = (0, (1, 1.3))  # editors that are not in the paper's tables, of every family
WIDTH = 6.3  # inches: the text width of a page of the ACL proceedings
COLUMN = 4.4  # inches: wider than one of its columns, for one panel with its caption
SMALL = 6.0  # points, of the caption and of labels inside a panel
DPI = 300  # of the PNG
_RC = {
    "text.parse_math": False,  # words of the data may hold dollar signs
    "font.family": "DejaVu Sans",  # it comes with matplotlib, so every machine draws the same
    "font.size": 7.5,
    "axes.titlesize": 8.0,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.1,
    "lines.markersize": 4.0,
    "svg.hashsalt": "lifelong-edit-bench",  # ids of the SVG's parts, else drawn at random
}


@dataclass(frozen=True, kw_only=True)
class Mark:
    """How an editor is drawn, in every figure."""

    colour: str
    marker: str
    dashes: Dashes
    width: float  # points
    size: float  # points
    hollow: bool = False  # the marker, where nothing else is told by that

    @property
    def line(self) -> dict[str, Any]:
        """Keywords of a line."""
        return {
            "color": self.colour,
            "marker": self.marker,
            "linestyle": self.dashes,
            "linewidth": self.width,
            "markersize": self.size,
            "markeredgecolor": self.colour,
        }


def marks(editors: Sequence[str] = ()) -> dict[str, Mark]:
    """The mark of each editor, by key; it depends on all editors that there are, not on `editors`.

    Those come last that are known from records alone. Colours repeat, markers do not. The paper's
    own editor is black.
    """
    keys = tuple(dict.fromkeys([*editor_keys(recent=True), *editors]))
    colours, recent = cycle(COLOURS), cycle(RECENT_COLOURS)
    found = {}
    for key, marker in zip(keys, cycle(MARKERS), strict=False):
        own, old = key == RECIPE, in_paper(key)
        found[key] = Mark(
            colour=BLACK if own else next(colours if old else recent),
            marker="*" if own else marker,
            dashes=DASHES[registry.describe(key).family] if old else DOTTED,
            width=1.6 if own else 1.0,
            size=6.5 if own else 4.0,
            hollow=not old,
        )
    return {key: found[key] for key in editors or keys}


@contextmanager
def paper_style() -> Iterator[None]:
    """Context in which figures are made and written: matplotlib's defaults and these.

    A user's own matplotlibrc changes nothing, so that equal input gives equal files.
    """
    import matplotlib.style

    with matplotlib.style.context(["default", _RC]):
        yield
