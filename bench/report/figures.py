"""Pages of figures: the drawing, its numbers, and what the interactive form shows."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from bench.core.cells import Cell
from bench.report.pages import Column, Grid, GridRow, plain
from bench.report.plots import FIGURES
from bench.report.plots.drawing import Drawing, Field, Source
from bench.report.plots.interactive import Spec
from bench.report.sources import CONTROLS, Records, backbones_of
from bench.store.reference import MAP
from bench.tables.figure_data import read_map

MOST_ROWS = 500  # ours: a longer table of numbers is left to its CSV
LIBRARY = "plotly.min.js"


@dataclass(frozen=True, kw_only=True)
class FigurePage:
    """One figure of one backbone."""

    key: str  # of its files
    title: str
    backbone: str
    drawing: Drawing
    spec: Spec
    numbers: Grid | None  # None where there are too many


def figure_pages(records: Records) -> tuple[list[FigurePage], list[str]]:
    """Every figure that the records can show, and why others cannot be drawn."""
    editing = [r for r in records.all.values() if r["cell"].get("kind") == Cell.kind]
    pages, missing = [], []
    for backbone in backbones_of(editing):
        if backbone in CONTROLS:  # compared in Table 4 alone
            continue
        source = Source(
            records=lambda: editing,
            prompt_map=lambda: read_map(records.directory / MAP),
            backbone=backbone,
        )
        for key, entry in FIGURES.items():
            if not entry.of_records:
                continue
            module = entry.module()
            try:
                drawing: Drawing = module.build(source)
            except (ValueError, OSError) as error:
                missing.append(f"{entry.title}, {backbone}: {error}")
                continue
            name = f"{drawing.stem}-{_file_part(backbone)}"
            number = f"Figure {key}: " if key.isdigit() else ""
            page = FigurePage(
                key=name, title=f"{number}{entry.title[0].upper()}{entry.title[1:]}",
                backbone=backbone, drawing=drawing, spec=module.interactive(drawing.lines),
                numbers=_numbers(name, drawing),
            )  # fmt: skip
            pages.append(page)
    return pages, missing


@cache
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
    """Ids of the elements whose presence stops the library from adding styles of its own.

    The policy of the pages forbids styles inside a page. Beside a name that is documented, a style
    for maps, which these figures have not, is looked for under a digest.
    """
    digests = re.findall(rb'getElementById\("([0-9a-f]{64})"\)', script)
    return ["plotly.js-style-global", *(digest.decode() for digest in digests)]


def _file_part(text: str) -> str:
    """A name as part of a file's: letters, digits, hyphens, and a digest where it has others."""
    plain_text = "".join(c if c.isascii() and c.isalnum() else "-" for c in text)
    if plain_text == text:
        return text
    return f"{plain_text[:40]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _numbers(name: str, drawing: Drawing) -> Grid | None:
    """A row for each line; columns without any value are left out."""
    lines = drawing.lines
    if len(lines) > MOST_ROWS:
        return None
    values = {column: [line.get(column) for line in lines] for column in drawing.columns}
    values = {n: own for n, own in values.items() if set(own) != {None}}
    words = {n for n, own in values.items() if any(isinstance(value, str) for value in own)}
    return Grid(
        key=f"{name}-numbers", title="Numbers of the figure", caption=(),
        columns=tuple(Column(n.replace("_", " "), number=n not in words) for n in values),
        rows=tuple(
            GridRow(tuple(plain(_text(line.get(n)), line.get(n)) for n in values)) for line in lines
        ),
    )  # fmt: skip


def _text(field: Field) -> str:
    if isinstance(field, float):
        return f"{field:.4f}"
    return f"{field:,}" if isinstance(field, int) else field or "-"
