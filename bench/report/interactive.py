"""What an interactive figure shows: panels of series, from the numbers of the drawn one.

A series belongs to a group (an editor, a metric), which a reader can switch off in all panels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from bench.core.console import visible
from bench.core.names import editor_keys
from bench.report.plots.drawing import Drawing, Field
from bench.report.plots.style import BLACK, BLUE, GREY, ORANGE, VERMILLION, Dashes, marks
from editors import registry

Spec = dict[str, Any]
Line = Mapping[str, Field]
_SYMBOLS = {
    "o": "circle", "s": "square", "^": "triangle-up", "v": "triangle-down", "D": "diamond",
    "P": "cross", "X": "x", "<": "triangle-left", ">": "triangle-right", "h": "hexagon",
    "p": "pentagon", "d": "diamond-tall", "8": "octagon", "H": "hexagon2", "*": "star",
    "+": "cross-thin-open", "x": "x-thin-open",
}  # fmt: skip
_METRICS = {"Rel": (BLUE, "circle"), "Gen": (VERMILLION, "square"),
            "Loc": (ORANGE, "triangle-up"), "Avg": (BLACK, "diamond")}  # fmt: skip
_PARTS = {"subject": (GREY, "circle-open"), "object": (BLACK, "circle"),
          "subject+object": (GREY, "diamond")}  # fmt: skip
_PROMPTS = ((VERMILLION, "triangle-up"), (BLUE, "cross"), (ORANGE, "x"))
PERCENT = {"title": "%", "range": [-2, 102]}


def interactive(key: str, drawing: Drawing) -> Spec:
    """The panels of a figure of `bench.report.plots.catalogue`, as plain values."""
    lines = [dict(zip(drawing.columns, row, strict=True)) for row in drawing.rows]
    return _FORMS[key](lines)


def _lengths(lines: Sequence[Line]) -> Spec:
    """Figure 3."""
    groups = [_group(name, *_METRICS[name]) for name in _METRICS]
    x = {"title": "continuous prompt tokens of an edit"}
    series = [
        _series(name, [one for one in lines if one["metric"] == name], "prompt_length", "value")
        for name in _METRICS
    ]
    return {"groups": groups, "panels": [_panel("", x, series, "mean over data sets, %")]}


def _edits(lines: Sequence[Line]) -> Spec:
    """All editors against n: a panel for each data set, of ours and of the published numbers."""
    panels = []
    for source, dataset in dict.fromkeys((one["source"], one["dataset"]) for one in lines):
        here = [one for one in lines if (one["source"], one["dataset"]) == (source, dataset)]
        x = {"title": "sequential edits", "type": "log", "ticks": _values(lines, "n_edits")}
        series = [_series(name, own, "n_edits", "avg") for name, own in _by(here, "editor")]
        panels.append(_panel(f"{dataset}, {source} ({here[0]['backbone']})", x, series, "Avg, %"))
    return {"groups": _editors(lines), "panels": panels}


def _times(lines: Sequence[Line]) -> Spec:
    x = {"title": "median seconds of one edit", "type": "log", "step": "D2"}
    series = [
        _series(name, own, "edit_seconds", "avg") | {"mode": "markers"}
        for name, own in _by(lines, "editor")
    ]
    return {"groups": _editors(lines), "panels": [_panel("", x, series, "Avg, %")]}


def _retention(lines: Sequence[Line]) -> Spec:
    """A panel for each data set; the static figure has one for each editor."""
    middle = [
        one | {"age": (float(one["age_from"] or 0) + float(one["age_to"] or 0)) / 2}
        for one in map(dict, lines)
    ]
    x = {"title": "edits that came after"}
    panels = [
        _panel(
            dataset, x, [_series(name, own, "age", "rel") for name, own in _by(here, "editor")],
            "Rel, %",
        )
        for dataset, here in _by(middle, "dataset")
    ]  # fmt: skip
    return {"groups": _editors(lines), "panels": panels}


def _map(lines: Sequence[Line]) -> Spec:
    """Figure 4: names, and tokens of prompts of each length."""
    placed = [one for one in lines if one["x"] is not None]
    named = [one for one in placed if one["part"] != "prompt"]
    groups = [_group(part, *_PARTS[part]) for part, _ in _by(named, "part") if part in _PARTS]
    series = [_points(part, own, "name") for part, own in _by(named, "part")]
    prompts = [one for one in placed if one["part"] == "prompt"]
    for (length, own), (colour, symbol) in zip(_by(prompts, "prompt_length"), _PROMPTS,
                                               strict=False):  # fmt: skip
        name = f"{length} CPT{'s' * (length != '1')}"
        groups.append(_group(name, colour, symbol))
        series.append(_points(name, own, "edit"))
    bare = {"title": "", "bare": True}
    return {"groups": groups, "panels": [_panel("", bare, series, "") | {"y": bare, "tall": True}]}


_FORMS: Mapping[str, Callable[[Sequence[Line]], Spec]] = {
    "3": _lengths,
    "4": _map,
    "edits": _edits,
    "time": _times,
    "retention": _retention,
}


def _panel(title: str, x: Spec, series: Sequence[Spec], y_title: str) -> Spec:
    return {"title": title, "x": x, "y": PERCENT | {"title": y_title}, "series": list(series)}


def _series(name: str, lines: Sequence[Line], x: str, y: str) -> Spec:
    return {
        "group": _label(name),
        "mode": "lines+markers",
        "x": [one[x] for one in lines],
        "y": [_round(one[y]) for one in lines],
        "error": [_round(one.get("std")) for one in lines],
        "notes": [_label(str(one.get("remark") or "")) for one in lines],
    }


def _points(name: str, lines: Sequence[Line], note: str) -> Spec:
    found = _series(name, lines, "x", "y")
    words = "edit " if note == "edit" else ""
    notes = [_label(f"{words}{one[note]}") for one in lines]
    return found | {"mode": "markers", "notes": notes, "bare": True}


def _editors(lines: Iterable[Line]) -> list[Spec]:
    """The marks of the figures, with which every editor is drawn everywhere."""
    styles = marks()
    there = dict.fromkeys(str(one["editor"]) for one in lines)
    found = []
    for key in editor_keys(recent=True):
        label = registry.describe(key).label
        if label in there:
            mark = styles[key]
            found.append(_group(label, mark.colour, _SYMBOLS[mark.marker], _dash(mark.dashes)))
    return found


def _group(name: str, colour: str, symbol: str, dash: str = "solid") -> Spec:
    return {"name": _label(name), "colour": colour, "symbol": symbol, "dash": dash}


def _dash(dashes: Dashes) -> str:
    """The same line in the names of the library."""
    if isinstance(dashes, str):
        return "solid"
    return "dash" if len(dashes[1]) == 2 else "dashdot"


def _by(lines: Iterable[Line], column: str) -> Iterator[tuple[str, list[Line]]]:
    """Lines by the text of a column, in their order."""
    found: dict[str, list[Line]] = {}
    for one in lines:
        found.setdefault(str(one[column]), []).append(one)
    yield from found.items()


def _values(lines: Iterable[Line], column: str) -> list[Field]:
    return list(dict.fromkeys(one[column] for one in lines))


def _round(value: Field) -> Field:
    return round(value, 4) if isinstance(value, float) else value


def _label(text: str) -> str:
    """A text for the library, which reads markup in labels."""
    return escape(visible(text), quote=False)
