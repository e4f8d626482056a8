"""The whole report: records to the contents of a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from bench import __version__
from bench.core.cells import Cell
from bench.core.grids import TABLES, Table
from bench.evaluation.record_kinds import AbilityCell, TimingCell
from bench.report import home, judged
from bench.report.cells import cell_view
from bench.report.editing import Layer, editing_csv, editing_grid, tabulated
from bench.report.figures import LIBRARY, FigurePage, figure_pages, library, style_marks
from bench.report.folder import MARK
from bench.report.grid import Grid
from bench.report.loss_page import loss_grid
from bench.report.others import ability_table, ablation_table, time_table
from bench.report.pages import Page, assets, render
from bench.report.scripts import script
from bench.report.sources import Records
from bench.store.results import Record
from bench.tables.metric_loss import losses
from bench.tables.metric_loss_layout import to_csv as loss_csv

SCHEMA = 1
PREFIX = 2  # characters of a cell's key that name its data file; `cell.js` has the same
HOME = "index.html"
_BEYOND = (
    "Cells of editing that no table has: other hyper-parameters than the presets', as for Figure 3 "
    "and for what the covariance of keys does."
)


@dataclass
class Parts:
    """What has been made of the records so far."""

    pages: list[Page] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)  # a sentence for what cannot be shown
    headline: Grid | None = None


def contents(found: Records) -> dict[str, bytes]:
    """File name -> content of a report of these records."""
    records, parts = list(found.all.values()), Parts()
    for table in TABLES.values():
        _add_table(parts, table, found, records)
    _add_beyond(parts, found, records)
    _add_losses(parts, records)
    figures, missing = figure_pages(found)
    _add_figures(parts, figures, missing)
    _add_judged(parts, found)
    parts.pages.append(_cell_page())
    pages = (_home(parts, found), *parts.pages)
    footer = f"Made by python -m bench report, version {__version__}, of {found.place}."
    return {
        **{page.file: render(page, pages, footer) for page in pages},
        **assets(),
        **parts.files,
        **cell_files(records),
        MARK: _mark(found),
    }


def cell_files(records: Sequence[Record]) -> dict[str, bytes]:
    """Data of all cells, in files by the beginning of their keys."""
    shards: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        shards.setdefault(record["key"][:PREFIX], []).append(cell_view(record))
    return {f"data/cells/{prefix}.js": script("cells", views) for prefix, views in shards.items()}


@dataclass(frozen=True, kw_only=True)
class TablePart:
    """One of the paper's tables."""

    grid: Grid
    csv: str
    layers: Sequence[Layer] = ()  # of tables of editing


def table_of(table: Table, found: Records, records: Sequence[Record]) -> TablePart:
    """A table of these records.

    Raises:
        ValueError: there is no record of it, or records that no table can be made of.
    """
    cells, csv = found.cells(table), csv_of(table)
    if not cells:
        raise ValueError("no record.")
    if table.measures == "editing":
        layers = tabulated(table, cast("list[Cell]", cells), records)
        title = f"Table {table.number}: {table.title}"
        grid = editing_grid(table, layers, key=f"table{table.number}", title=title, csv=csv)
        return TablePart(grid=grid, csv=editing_csv(layers), layers=layers)
    if table.measures == "general_ability":
        grid, text = ability_table(table, cast("list[AbilityCell]", cells), records, csv=csv)
    elif table.measures == "times":
        grid, text = time_table(table, cast("list[TimingCell]", cells), records, csv=csv)
    else:
        grid, text = ablation_table(table, cast("list[Cell]", cells), records, csv=csv)
    return TablePart(grid=grid, csv=text)


def csv_of(table: Table) -> str:
    """The file of a table's numbers."""
    return f"csv/table{table.number}.csv"


def _add_table(parts: Parts, table: Table, found: Records, records: Sequence[Record]) -> None:
    try:
        made = table_of(table, found, records)
    except ValueError as error:
        parts.gaps.append(f"Table {table.number} ({table.title}): {error}")
        return
    _add_headline(parts, made.layers)
    parts.files[csv_of(table)] = made.csv.encode()
    parts.pages.append(
        Page(
            file=f"table{table.number}.html",
            title=made.grid.title,
            template="tables.html",
            values={"lines": [], "terms": [], "grids": [made.grid]},
            label=f"Table {table.number}",
            about=f"{len(made.grid.rows):,} rows",
        )
    )


def _add_headline(parts: Parts, layers: Sequence[Layer]) -> None:
    chosen = home.headline_layer(layers)
    if parts.headline is None and chosen is not None:
        parts.headline = home.headline(chosen)


def _add_beyond(parts: Parts, found: Records, records: Sequence[Record]) -> None:
    cells = found.beyond()
    if not cells:
        return
    by_table: dict[int, list[Cell]] = {}
    for cell in cells:
        by_table.setdefault(_home_table(cell).number, []).append(cell)
    grids = []
    for number, own in sorted(by_table.items()):
        layers, csv = tabulated(TABLES[number], own, records), f"csv/beyond{number}.csv"
        title = f"Beside Table {number}"
        grids.append(
            editing_grid(TABLES[number], layers, key=f"beyond{number}", title=title, csv=csv)
        )
        parts.files[csv] = editing_csv(layers).encode()
    parts.pages.append(
        Page(
            file="beyond.html",
            title="Cells beside the tables",
            template="tables.html",
            values={"lines": [_BEYOND], "terms": [], "grids": grids},
            label="Other cells",
            about=f"{len(cells):,} cells with other settings than the presets",
        )
    )


def _home_table(cell: Cell) -> Table:
    """The table of editing on the cell's backbone, else the first."""
    editing = [table for table in TABLES.values() if table.measures == "editing"]
    return next((t for t in editing if cell.backbone in t.backbones.values()), editing[0])


def _add_losses(parts: Parts, records: Sequence[Record]) -> None:
    found, csv = list(losses(records)), "csv/metric_loss.csv"
    if not found:
        parts.gaps.append("What the metric hides: no record of editing.")
        return
    parts.files[csv] = loss_csv(found).encode()
    parts.pages.append(
        Page(
            file="metric-loss.html",
            title="What the metric hides",
            template="loss.html",
            values={"table": loss_grid(found, csv=csv)},
            label="Metric loss",
            about="what is lost from the printed number to a decoded answer",
        )
    )


def _add_figures(parts: Parts, figures: Sequence[FigurePage], missing: Sequence[str]) -> None:
    parts.pages.append(
        Page(
            file="figures.html",
            title="Figures",
            template="figures.html",
            values={"figures": figures, "missing": missing},
            label="Figures",
            about=f"{len(figures)} figures, interactive and as drawings",
        )
    )
    script_of_figures = library() if figures else b""
    if figures:
        parts.files[f"assets/{LIBRARY}"] = script_of_figures
    marks = style_marks(script_of_figures)
    for figure in figures:
        parts.files |= {f"figures/{name}": content for name, content in figure.files.items()}
        parts.files[f"data/figures/{figure.key}.js"] = script("figure", figure.spec)
        parts.pages.append(
            Page(
                file=f"{figure.key}.html",
                title=f"{figure.title}, {figure.backbone}",
                template="figure.html",
                values={"figure": figure, "style_marks": marks},
            )
        )


def _add_judged(parts: Parts, found: Records) -> None:
    """Claims and audit."""
    verdicts, compared = judged.judged(found), judged.beside(found)
    grids = [judged.claims_grid(verdicts)]
    if compared:
        grids.append(judged.beside_grid(compared))
    sections = judged.audit_sections()
    parts.pages += [
        _verdict_page("claims.html", "Claims", judged.CLAIMS_LINES, grids, [],
                      "the paper's claims on its numbers and on ours"),
        _verdict_page("audit.html", "Audit", judged.audit_lines(sections),
                      judged.audit_grids(sections), judged.meanings(),
                      "the published tables checked against themselves"),
    ]  # fmt: skip


def _verdict_page(
    file: str,
    title: str,
    lines: Sequence[str],
    grids: Sequence[Grid],
    terms: Sequence[tuple[str, str]],
    about: str,
) -> Page:
    return Page(
        file=file,
        title=title,
        template="tables.html",
        values={"lines": lines, "terms": terms, "grids": grids},
        label=title,
        about=about,
    )


def _cell_page() -> Page:
    return Page(file="cell.html", title="A cell", template="cell.html", values={})


def _home(parts: Parts, found: Records) -> Page:
    values: Mapping[str, Any] = {
        "about": home.about(found),
        "notice": home.notice(found),
        "headline": parts.headline,
        "contents": [page for page in parts.pages if page.label],
        "gaps": parts.gaps,
    }
    return Page(
        file=HOME, title="Lifelong knowledge editing", template="index.html", values=values,
        label="Home",
    )  # fmt: skip


def _mark(found: Records) -> bytes:
    """What says that the folder is a report."""
    body = {"schema": SCHEMA, "made_by": f"bench report {__version__}", "cells": len(found.all)}
    return (json.dumps(body, indent=1) + "\n").encode()
