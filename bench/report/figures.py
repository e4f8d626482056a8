"""Figures of the report, drawn by `bench.report.plots`, and numbers of the interactive ones."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module, resources

from bench.core.cells import Cell
from bench.core.grids import TABLES
from bench.report.grid import Column, Grid, GridRow, plain
from bench.report.interactive import Spec, interactive
from bench.report.plots.catalogue import FIGURES
from bench.report.plots.drawing import Drawing
from bench.report.plots.source import Source
from bench.report.sources import Records
from bench.store.reference import MAP
from bench.store.results import Record
from bench.tables.figure_data.prompt_map import read_map

MOST_ROWS = 500  # ours: a longer table of numbers is left to its CSV
LIBRARY = "plotly.min.js"


@dataclass(frozen=True, kw_only=True)
class FigurePage:
    """One figure of one backbone."""

    key: str  # of its files
    title: str
    backbone: str
    caption: str
    notes: tuple[str, ...]
    files: dict[str, bytes]  # its SVG and CSV by name
    spec: Spec
    numbers: Grid | None  # None where there are too many


def figure_pages(found: Records) -> tuple[list[FigurePage], list[str]]:
    """Every figure that the records can show, and why others cannot be drawn."""
    records = [one for one in found.all.values() if one["cell"].get("kind") == Cell.kind]
    pages, missing = [], []
    for backbone in _backbones(records):
        for key, entry in FIGURES.items():
            try:
                drawing = import_module(entry.module).build(_source(found, records, backbone))
            except (ValueError, OSError) as error:
                missing.append(f"{entry.title}, {backbone}: {error}")
                continue
            pages.append(_page(key, entry.title, backbone, drawing))
    return pages, missing


def library() -> bytes:
    """The script of the interactive figures, as its package ships it.

    Raises:
        ValueError: the package is not installed, or ships no such script.
    """
    try:
        return (resources.files("plotly") / "package_data" / LIBRARY).read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise ValueError(
            f"The figures of the report need the package plotly with its {LIBRARY}; "
            "pip install plotly."
        ) from error


def style_marks(script: bytes) -> list[str]:
    """Ids of the elements whose presence keeps the library from adding styles of its own.

    The policy of the pages forbids styles inside a page. Beside a name that is documented, a style
    for maps, which these figures have not, is looked for under a digest.
    """
    digests = re.findall(rb'getElementById\("([0-9a-f]{64})"\)', script)
    return ["plotly.js-style-global", *(one.decode() for one in digests)]


def _backbones(records: Sequence[Record]) -> Iterator[str]:
    """Those of tables first, in their order; backbones of controls have no figures."""
    controls = {table.control for table in TABLES.values()}
    order = [name for table in TABLES.values() for name in table.backbones.values()]
    there = {str(record["cell"]["backbone"]) for record in records} - controls
    yield from sorted(there, key=lambda b: (order.index(b) if b in order else len(order), b))


def _source(found: Records, records: Sequence[Record], backbone: str) -> Source:
    return Source(
        records=lambda: records,
        prompt_map=lambda: read_map(found.directory / MAP),
        backbone=backbone,
    )


def _page(key: str, title: str, backbone: str, drawing: Drawing) -> FigurePage:
    name = f"{drawing.stem}-{_file_part(backbone)}"
    number = f"Figure {key}: " if key.isdigit() else ""
    return FigurePage(
        key=name,
        title=f"{number}{title[0].upper()}{title[1:]}",
        backbone=backbone,
        caption=" ".join(drawing.figure.texts[0].get_text().split()),
        notes=drawing.notes,
        files={
            f"{name}.svg": drawing.svg(),
            f"{name}.csv": drawing.csv(),
        },
        spec=interactive(key, drawing),
        numbers=_numbers(name, drawing),
    )


def _file_part(text: str) -> str:
    """A name as part of a file's: letters, digits, hyphens, and a digest where it has others."""
    plain_text = "".join(c if c.isascii() and c.isalnum() else "-" for c in text)
    if plain_text == text:
        return text
    return f"{plain_text[:40]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _numbers(name: str, drawing: Drawing) -> Grid | None:
    if len(drawing.rows) > MOST_ROWS:
        return None
    kept = [i for i, _ in enumerate(drawing.columns) if any(row[i] is not None
                                                            for row in drawing.rows)]  # fmt: skip
    numeric = {i for i in kept if all(isinstance(row[i], int | float | None)
                                      for row in drawing.rows)}  # fmt: skip
    return Grid(
        key=f"{name}-numbers",
        title="Numbers of the figure",
        caption=(),
        columns=tuple(
            Column(name=drawing.columns[i].replace("_", " "), number=i in numeric) for i in kept
        ),
        rows=tuple(
            GridRow(values=tuple(plain(_text(row[i]), _sort(row[i])) for i in kept))
            for row in drawing.rows
        ),
    )


def _text(field: str | int | float | None) -> str:
    if isinstance(field, float):
        return f"{field:.4f}"
    return f"{field:,}" if isinstance(field, int) else field or "-"


def _sort(field: str | int | float | None) -> float | str | None:
    return field
