"""How figures look: sizes for print, and marks that do without a difference of red and green.

Colours are those of Okabe and Ito, "Color Universal Design" (2008), without its yellow, which is
too pale on white. An editor's own colour and marker stand on its class; no two editors share a
marker, so that black-and-white print distinguishes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from bench.core.grids import RECIPE
from bench.core.names import editor_keys, in_paper
from editors import registry

BLACK, GREY = "#000000", "#767676"  # grey has 4.5:1 on white
ORANGE, BLUE, VERMILLION, PURPLE = "#E69F00", "#0072B2", "#D55E00", "#CC79A7"
# Of editors without a mark, a user's own: the colours are Paul Tol's muted ones, "Colour Schemes".
OTHER_COLOURS = ("#882255", "#999933", "#44AA99", "#332288", "#AA4499")
MARKERS = "os^vDPX<>hpd8H+x"
# Line styles by family: what modifies parameters, adds some, or retrieves.
Dashes = str | tuple[float, tuple[float, ...]]
DASHES: dict[str, Dashes] = {"MP": "-", "AP": (0, (5, 1.5, 1, 1.5)), "RB": (0, (4, 1.5))}
DOTTED: Dashes = (0, (1, 1.3))  # editors that are not in the paper's tables, of every family
WIDTH = 6.3  # inches: the text width of a page of the ACL proceedings
COLUMN = 4.4  # inches: wider than one of its columns, for one panel with its caption
SMALL = 6.0  # points, of the caption and of labels inside a panel
DPI = 300  # of the PNG


@dataclass(frozen=True, kw_only=True)
class Mark:
    """How an editor is drawn, in every figure."""

    colour: str
    marker: str
    dashes: Dashes
    width: float  # points
    size: float  # points
    hollow: bool  # the marker of an editor that is not in the paper, where nothing else says so

    @property
    def line(self) -> dict[str, Any]:
        """Keywords of a line."""
        return {
            "color": self.colour, "marker": self.marker, "linestyle": self.dashes,
            "linewidth": self.width, "markersize": self.size, "markeredgecolor": self.colour,
        }  # fmt: skip


def marks(editors: Sequence[str] = ()) -> dict[str, Mark]:
    """The mark of each editor, by key: of these, or of all that there are."""
    others = zip(cycle(OTHER_COLOURS), cycle(MARKERS), strict=False)
    styles = {}
    for key in dict.fromkeys([*editor_keys(recent=True), *editors]):
        entry, old, main = registry.describe(key), in_paper(key), key == RECIPE
        colour, marker = entry.mark or next(others)
        styles[key] = Mark(
            colour=colour, marker=marker, dashes=DASHES[entry.family] if old else DOTTED,
            width=1.6 if main else 1.0, size=6.5 if main else 4.0, hollow=not old,
        )  # fmt: skip
    return {key: styles[key] for key in editors or styles}


@contextmanager
def paper_style() -> Iterator[None]:
    """Context in which figures are drawn and written: matplotlib's defaults and `paper.mplstyle`.

    A user's own matplotlibrc changes nothing, so that equal input gives equal files.
    """
    import matplotlib.style

    with matplotlib.style.context(["default", Path(__file__).with_name("paper.mplstyle")]):
        yield
