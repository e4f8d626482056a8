"""Interactive forms of figures as plain values: panels of series, from the numbers drawn.

A series belongs to a group (an editor, a metric), which a reader can switch off in all panels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any

from bench.core.console import visible
from bench.core.names import editor_keys
from bench.report.plots.drawing import Field, Line
from bench.report.plots.style import Dashes, marks
from editors import registry

Spec = dict[str, Any]
_SYMBOLS = {
    "o": "circle", "s": "square", "^": "triangle-up", "v": "triangle-down", "D": "diamond",
    "P": "cross", "X": "x", "<": "triangle-left", ">": "triangle-right", "h": "hexagon",
    "p": "pentagon", "d": "diamond-tall", "8": "octagon", "H": "hexagon2", "*": "star",
    "+": "cross-thin-open", "x": "x-thin-open",
}  # fmt: skip
_PERCENT = {"title": "%", "range": [-2, 102]}


def panel(title: str, x: Spec, series: Sequence[Spec], y_title: str) -> Spec:
    """Series over the same axes; those of y are in percent."""
    return {"title": title, "x": x, "y": _PERCENT | {"title": y_title}, "series": list(series)}


def series(name: str, lines: Sequence[Line], x: str, y: str) -> Spec:
    """The points of a group, by two columns of the figure's numbers."""
    return {
        "group": _label(name),
        "mode": "lines+markers",
        "x": [line[x] for line in lines],
        "y": [_round(line[y]) for line in lines],
        "error": [_round(line.get("std")) for line in lines],
        "notes": [_label(str(line.get("remark") or "")) for line in lines],
    }


def points(name: str, lines: Sequence[Line], note: str) -> Spec:
    """Points of a map, each with the text of a column."""
    words = "edit " if note == "edit" else ""
    notes = [_label(f"{words}{line[note]}") for line in lines]
    return series(name, lines, "x", "y") | {"mode": "markers", "notes": notes, "bare": True}


def group(name: str, colour: str, symbol: str, dash: str = "solid") -> Spec:
    """How the series of a group look."""
    return {"name": _label(name), "colour": colour, "symbol": symbol, "dash": dash}


def editor_groups(lines: Iterable[Line]) -> list[Spec]:
    """The editors of these numbers, with the marks that they have in every figure."""
    styles = marks()
    there = {line["editor"] for line in lines}
    labels = {key: registry.describe(key).label for key in editor_keys(recent=True)}
    return [
        group(name, styles[key].colour, _SYMBOLS[styles[key].marker], _dash(styles[key].dashes))
        for key, name in labels.items()
        if name in there
    ]


def by(lines: Iterable[Line], column: str) -> Iterator[tuple[str, list[Line]]]:
    """Lines by the text of a column, in their order."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(str(line[column]), []).append(line)
    yield from groups.items()


def _dash(dashes: Dashes) -> str:
    """The same line in the names of the library."""
    if isinstance(dashes, str):
        return "solid"
    return "dash" if len(dashes[1]) == 2 else "dashdot"


def _round(value: Field) -> Field:
    return round(value, 4) if isinstance(value, float) else value


def _label(text: str) -> str:
    """A text for the library, which reads markup in labels."""
    return escape(visible(text), quote=False)
