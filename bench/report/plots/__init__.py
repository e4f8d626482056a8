"""Figures from stored records: no model is loaded and nothing is measured here.

A figure is a module with `build(source)`, which turns records into a `drawing.Drawing`, and
`interactive(rows)`, which turns the drawing's numbers into panels of the report's pages. None is
imported to list them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bench.core.names import resolve_name


@dataclass(frozen=True)
class FigureEntry:
    """A figure by its module."""

    module: str
    title: str
    aliases: tuple[str, ...] = ()


FIGURES: Mapping[str, FigureEntry] = MappingProxyType(
    {
        "3": FigureEntry(
            "bench.report.plots.prompt_lengths",
            "RECIPE against the number of continuous prompt tokens",
            ("figure3",),
        ),
        "4": FigureEntry(
            "bench.report.plots.prompt_map",
            "map of continuous prompt tokens among word embeddings",
            ("figure4",),
        ),
        "edits": FigureEntry("bench.report.plots.edits", "all editors against the number of edits"),
        "time": FigureEntry("bench.report.plots.edit_time", "time of an edit against quality"),
        "retention": FigureEntry(
            "bench.report.plots.retention", "reliability by the age of the edit"
        ),
    }
)


def resolve(name: str) -> str:
    """The key of a figure.

    Raises:
        ValueError: no figure of that name; the nearest is named.
    """
    return resolve_name("figure", name, {key: entry.aliases for key, entry in FIGURES.items()})
