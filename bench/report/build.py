"""The whole report: records to the contents of a folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench import __version__
from bench.core.cells import Cell
from bench.core.grids import TABLES, Table
from bench.core.names import editor_keys
from bench.datasets import dataset_keys, get_dataset
from bench.report import judged
from bench.report.cells import cell_view, stream_of
from bench.report.figures import LIBRARY, figure_pages, library, style_marks
from bench.report.grid import Grid
from bench.report.pages import MARK, Page, assets, render, script, tables_page
from bench.report.paper_tables import headline, loss_grid, table_part
from bench.report.sources import Records, home_table
from bench.store.results import Record
from bench.tables.metric_loss import losses
from bench.tables.metric_loss import to_csv as loss_csv
from bench.tables.table import EMPTY
from editors import registry

SCHEMA = 1
PREFIX = 2  # characters of a cell's key that name its data file; `cell.js` has the same
HOME = "index.html"
_BEYOND = (
    "Cells of editing that no table has: other hyper-parameters than the presets', as for Figure 3 "
    "and for what the covariance of keys does."
)
_EMBEDDED = (
    "These are embedded miniatures: models of 1 to 3 million parameters in an invented world. "
    "They test the code and the protocol, not the paper's claims. The published values beside "
    "them are of real models of 1.5 to 7 billion parameters on real data: compare shapes, never "
    "values."
)
_REAL = (
    "The published values stand beside ours where the paper has the same editor, data set and "
    "number of edits; other samples, texts and versions are enough for them to differ."
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
    cell = Page(file="cell.html", title="A cell", template="cell.html", values={})
    parts.pages += [judged.claims_page(records), judged.audit_page(), cell]
    pages = (_home(parts, stored), *parts.pages)
    footer = f"Written by python -m bench report, version {__version__}, of {records.place}."
    mark = {"schema": SCHEMA, "made_by": f"bench report {__version__}", "cells": len(stored)}
    return {
        **{page.file: render(page, pages, footer) for page in pages},
        **assets(),
        **parts.files,
        **cell_files(stored),
        MARK: (json.dumps(mark, indent=1) + "\n").encode(),
    }


def cell_files(records: Sequence[Record]) -> dict[str, bytes]:
    """Data of all cells, in files by the beginning of their keys."""
    shards: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        shards.setdefault(record["key"][:PREFIX], []).append(cell_view(record))
    return {f"data/cells/{prefix}.js": script("cells", views) for prefix, views in shards.items()}


def _add_table(parts: Parts, table: Table, records: Records, stored: Sequence[Record]) -> None:
    csv = f"csv/table{table.number}.csv"
    try:
        part = table_part(table, records.cells(table), stored, csv=csv)
    except ValueError as error:
        parts.gaps.append(f"Table {table.number} ({table.title}): {error}")
        return
    parts.headline = parts.headline or headline(part.views)
    parts.files[csv] = part.csv.encode()
    parts.pages.append(
        tables_page(
            f"table{table.number}.html", [part.grid], title=part.grid.title,
            label=f"Table {table.number}", about=f"{len(part.grid.rows):,} rows",
        )
    )  # fmt: skip


def _add_beyond(parts: Parts, records: Records, stored: Sequence[Record]) -> None:
    cells = records.beyond()
    by_table: dict[int, list[Cell]] = {}
    for cell in cells:
        by_table.setdefault(home_table(cell).number, []).append(cell)
    grids = []
    for number, own in sorted(by_table.items()):
        key, csv = f"beyond{number}", f"csv/beyond{number}.csv"
        part = table_part(
            TABLES[number], own, stored, key=key, title=f"Beside Table {number}", csv=csv
        )
        grids.append(part.grid)
        parts.files[csv] = part.csv.encode()
    if grids:
        page = tables_page(
            "beyond.html", grids, lines=[_BEYOND], title="Cells beside the tables",
            label="Other cells", about=f"{len(cells):,} cells with other settings than the presets",
        )  # fmt: skip
        parts.pages.append(page)


def _add_losses(parts: Parts, stored: Sequence[Record]) -> None:
    lines, csv = losses(stored), "csv/metric_loss.csv"
    if not lines:
        parts.gaps.append("What the metric hides: no record of editing.")
        return
    parts.files[csv] = loss_csv(lines).encode()
    parts.pages.append(
        Page(
            file="metric-loss.html",
            title="What the metric hides",
            template="loss.html",
            values={"table": loss_grid(lines, csv=csv)},
            label="Metric loss",
            about="accuracy drop from the printed number to a decoded answer",
        )
    )


def _add_figures(parts: Parts, records: Records) -> None:
    figures, missing = figure_pages(records)
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
    if not figures:
        return
    parts.files[f"assets/{LIBRARY}"] = library()
    marks = style_marks(library())
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


def _home(parts: Parts, stored: Sequence[Record]) -> Page:
    """The first page: what was measured, on what, when, and the table that sums it up."""
    streams = [stream for record in stored if (stream := stream_of(record)).get("editor")]
    embedded = any(world.startswith("embedded") for world in _worlds(stored))
    values: Mapping[str, Any] = {
        "about": [_what(streams), _where(stored, streams), _when(stored)],
        "notice": _EMBEDDED if embedded else _REAL,
        "headline": parts.headline,
        "contents": [page for page in parts.pages if page.label],
        "gaps": parts.gaps,
    }
    title = "Lifelong knowledge editing"
    return Page(file=HOME, title=title, template="index.html", values=values, label="Home")


def _what(streams: Sequence[Mapping[str, Any]]) -> str:
    labels = [registry.describe(key).label for key in editor_keys({s["editor"] for s in streams})]
    datasets = [get_dataset(key).label for key in dataset_keys({s["dataset"] for s in streams})]
    edits = sorted({stream["n_edits"] for stream in streams if stream["n_edits"]})
    return (
        f"{_counted(len(labels), 'editor')} ({', '.join(labels)}) write "
        f"{_names([f'{n:,}' for n in edits])} facts of {_names(datasets)} into a language model, "
        "one after another; then all are asked for."
    )


def _where(stored: Sequence[Record], streams: Sequence[Mapping[str, Any]]) -> str:
    order = [name for table in TABLES.values() for name in table.backbones.values()]
    there = {str(record["cell"]["backbone"]) for record in stored}
    backbones = sorted(there, key=lambda b: (order.index(b) if b in order else len(order), b))
    seeds = {stream["seed"] for stream in streams}
    return (
        f"Measured on {_names(backbones)}, data: {_names(_worlds(stored))}; "
        f"{_counted(len(stored), 'cell')}, {_counted(len(seeds), 'seed')}."
    )


def _worlds(stored: Iterable[Record]) -> list[str]:
    streams = map(stream_of, stored)
    return sorted({str(own["dataset_revision"]) for own in streams if own.get("dataset")})


def _when(stored: Sequence[Record]) -> str:
    provenance = [record["provenance"] for record in stored]
    days = sorted({str(own.get("started", ""))[:10] for own in provenance} - {""})
    commits = {own["git"]["commit"] for own in provenance if own.get("git")}
    machines = list(dict.fromkeys(_machine(own.get("hardware", {})) for own in provenance))
    first, last = (days[0], days[-1]) if days else (EMPTY, EMPTY)
    when = first if first == last else f"{first} to {last}"
    return f"Run {when} on {_names(machines)}, with {_counted(len(commits), 'commit')} of the code."


def _machine(hardware: Mapping[str, Any]) -> str:
    device = hardware.get("accelerator") or hardware.get("processor")
    return str(device or "a machine without a name")


def _names(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")
