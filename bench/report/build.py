"""The whole report: records to the contents of a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench import __version__
from bench.core.cells import stream_of
from bench.core.grids import TABLES, Table
from bench.core.names import editor_keys
from bench.datasets import dataset_keys, get_dataset
from bench.report import judged
from bench.report.cells import cell_view
from bench.report.figures import LIBRARY, figure_pages, library, style_marks
from bench.report.pages import MARK, Grid, Page, assets, render, script, tables_page
from bench.report.paper_tables import headline, loss_grid, table_part
from bench.report.sources import Records, backbones_of, home_table
from bench.store.results import Record
from bench.tables.metric_loss import losses
from bench.tables.metric_loss import to_csv as loss_csv
from editors import registry

SCHEMA = 1
PREFIX = 2  # characters of a cell's key that name its data file; `cell.js` has the same
HOME = "index.html"
_BEYOND = (
    "Cells of editing that no table has: other hyper-parameters than the presets', as for Figure 3 "
    "and for what the covariance of keys does."
)


@dataclass
class Parts:
    """The parts of a report so far."""

    pages: list[Page] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)  # a sentence for what cannot be shown
    headline: Grid | None = None


def contents(records: Records) -> dict[str, bytes]:
    """File name -> content of a report of these records."""
    stored, parts = list(records.all.values()), Parts()
    for table in TABLES.values():
        _add_table(parts, table, records, stored)
    _add_beyond(parts, records, stored)
    _add_losses(parts, stored)
    _add_figures(parts, records)
    cell = Page("cell.html", "A cell", "cell.html", {})
    parts.pages += [judged.claims_page(records), judged.audit_page(), cell]
    pages = (_home(parts, stored), *parts.pages)
    shards: dict[str, list[dict[str, Any]]] = {}
    for record in stored:
        shards.setdefault(record["key"][:PREFIX], []).append(cell_view(record))
    footer = f"Written by python -m bench report, version {__version__}, of {records.place}."
    mark = {"schema": SCHEMA, "made_by": f"bench report {__version__}", "cells": len(stored)}
    return {
        **{page.file: render(page, pages, footer) for page in pages},
        **assets(),
        **parts.files,
        **{f"data/cells/{prefix}.js": script("cells", views) for prefix, views in shards.items()},
        MARK: (json.dumps(mark, indent=1) + "\n").encode(),
    }


def _add_table(parts: Parts, table: Table, records: Records, stored: Sequence[Record]) -> None:
    label, name = f"Table {table.number}", f"table{table.number}"
    try:
        grid, csv, views = table_part(table, records.cells(table), stored, name)
    except ValueError as error:
        parts.gaps.append(f"{label} ({table.title}): {error}")
        return
    parts.headline = parts.headline or headline(views)
    parts.files[grid.csv] = csv.encode()
    about = f"{len(grid.rows):,} rows"
    parts.pages.append(tables_page(f"{name}.html", grid.title, [grid], about, label=label))


def _add_beyond(parts: Parts, records: Records, stored: Sequence[Record]) -> None:
    cells, grids = records.beyond(), []
    for number in sorted({home_table(cell).number for cell in cells}):
        own = [cell for cell in cells if home_table(cell).number == number]
        key, title = f"beyond{number}", f"Beside Table {number}"
        grid, csv, _ = table_part(TABLES[number], own, stored, key, title)
        grids.append(grid)
        parts.files[grid.csv] = csv.encode()
    if grids:
        about = f"{len(cells):,} cells with other settings than the presets"
        page = tables_page(
            "beyond.html", "Cells beside the tables", grids, about, label="Other cells",
            lines=[_BEYOND],
        )  # fmt: skip
        parts.pages.append(page)


def _add_losses(parts: Parts, stored: Sequence[Record]) -> None:
    lines, csv = losses(stored), "csv/metric_loss.csv"
    if not lines:
        parts.gaps.append("What the metric hides: no record of editing.")
        return
    parts.files[csv] = loss_csv(lines).encode()
    title, values = "What the metric hides", {"table": loss_grid(lines, csv=csv)}
    about = "accuracy drop from the printed number to a decoded answer"
    parts.pages.append(
        Page("metric-loss.html", title, "loss.html", values, label="Metric loss", about=about)
    )


def _add_figures(parts: Parts, records: Records) -> None:
    figures, missing = figure_pages(records)
    values = {"figures": figures, "missing": missing}
    about = f"{len(figures)} figures, interactive and as drawings"
    parts.pages.append(
        Page("figures.html", "Figures", "figures.html", values, label="Figures", about=about)
    )
    if not figures:
        return
    parts.files[f"assets/{LIBRARY}"] = library()
    marks = style_marks(library())
    for figure in figures:
        parts.files[f"figures/{figure.key}.svg"] = figure.drawing.svg()
        parts.files[f"figures/{figure.key}.csv"] = figure.drawing.csv()
        parts.files[f"data/figures/{figure.key}.js"] = script("figure", figure.spec)
        title = f"{figure.title}, {figure.backbone}"
        values = {"figure": figure, "style_marks": marks}
        parts.pages.append(Page(f"{figure.key}.html", title, "figure.html", values))


def _home(parts: Parts, stored: Sequence[Record]) -> Page:
    """The first page: what was measured, on what, when, and the table that sums it up."""
    streams = [stream_of(record["cell"]) for record in stored]
    edited = [stream for stream in streams if stream.get("editor")]
    provenance = [record["provenance"] for record in stored]
    hardware = [own.get("hardware", {}) for own in provenance]
    worlds = sorted({str(own["dataset_revision"]) for own in streams if own.get("dataset")})
    editors = editor_keys({stream["editor"] for stream in edited})
    datasets = dataset_keys({stream["dataset"] for stream in edited})
    values = {
        "editors": [registry.describe(key).label for key in editors],
        "datasets": [get_dataset(key).label for key in datasets],
        "edits": [f"{n:,}" for n in sorted({stream["n_edits"] or 0 for stream in edited} - {0})],
        "backbones": backbones_of(stored),
        "worlds": worlds,
        "embedded": any(world.startswith("embedded") for world in worlds),
        "cells": len(stored),
        "seeds": len({stream["seed"] for stream in edited}),
        "days": sorted({str(own.get("started", ""))[:10] for own in provenance} - {""}),
        "machines": [own.get("accelerator") or own.get("processor") for own in hardware],
        "commits": len({own["git"]["commit"] for own in provenance if own.get("git")}),
        "headline": parts.headline,
        "contents": [page for page in parts.pages if page.label],
        "gaps": parts.gaps,
    }
    return Page(HOME, "Lifelong knowledge editing", "index.html", values, label="Home")
