"""Figures from stored records: no model is loaded and nothing is measured here.

A figure is a module with `build(source)`, which turns records into a `drawing.Drawing`, and
`interactive(rows)`, which turns the drawing's numbers into panels of the report's pages; one that
shows no records has none. None is imported to list them.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from bench.core.names import resolve_name


@dataclass(frozen=True)
class FigureEntry:
    """A figure by the name of its module here."""

    name: str
    title: str
    of_records: bool = True  # whether it shows any

    def module(self) -> ModuleType:
        """The module, imported."""
        return import_module(f"{__name__}.{self.name}")


FIGURES = {
    "1": FigureEntry("families", "the three families of editors", of_records=False),
    "3": FigureEntry("prompt_lengths", "RECIPE against the number of continuous prompt tokens"),
    "4": FigureEntry("prompt_map", "map of continuous prompt tokens among word embeddings"),
    "edits": FigureEntry("edits", "all editors against the number of edits"),
    "time": FigureEntry("edit_time", "time of an edit against quality"),
    "retention": FigureEntry("retention", "reliability by the age of the edit"),
}


def resolve(name: str) -> str:
    """The key of a figure; 1, 3 and 4 are `figure1` and its like too.

    Raises:
        ValueError: no figure of that name; the nearest is named.
    """
    return resolve_name("figure", name, {k: [f"figure{k}"] * k.isdigit() for k in FIGURES})
