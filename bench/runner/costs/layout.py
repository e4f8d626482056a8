"""An estimate as a table with its assumptions, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bench.core.names import recent_labels
from bench.runner.costs.estimate import HOUR, Request, Row, totals
from bench.tables.table import EMPTY, TextTable

COLUMNS = (
    "cells", "edits", "editing", "asking", "training", "all",
    "edit GiB", "edits on", "train GiB", "trains on", "disk GB",
)  # fmt: skip
_UNITS = ((3600.0, "h"), (60.0, "min"))
_TEXTS = Path(__file__).with_name("assumptions.json")
SCHEMA = 1

GIB = 2.0**30
COMMON = (24.0, 40.0, 80.0)  # GiB of widespread GPUs, where this machine has none
USABLE = 0.9  # ours: the rest is the CUDA context's and lost between blocks


@dataclass(frozen=True, kw_only=True)
class GpuMemory:
    """GPU sizes in GiB that an estimate is compared with, and where they come from."""

    sizes: tuple[float, ...]
    about: str

    def fits(self, wanted: float | None) -> str:
        """The smallest size that a number of bytes fits into, `none`, or a dash for no number."""
        if wanted is None:
            return "-"
        size = min((size for size in self.sizes if wanted <= USABLE * size * GIB), default=None)
        if len(self.sizes) == 1:
            return "no" if size is None else "yes"
        return "none" if size is None else f"{size:g}"


def gpu_memory(given: float | None) -> GpuMemory:
    """The given size, else that of this machine's GPU, else the common ones."""
    if given is not None:
        return GpuMemory(sizes=(given,), about=f"a GPU of {given:g} GiB, as asked")
    import torch

    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        size = gpu.total_memory / GIB
        return GpuMemory(sizes=(size,), about=f"the GPU at hand, {gpu.name} of {size:.0f} GiB")
    listed = ", ".join(f"{size:g}" for size in COMMON)
    return GpuMemory(sizes=COMMON, about=f"no GPU here: the smallest of {listed} GiB is named")


def layout(request: Request, rows: Sequence[Row], memory: GpuMemory) -> TextTable:
    """One row for each backbone and editor, then the sum."""
    lines = [*rows, totals(rows)]
    breaks = [i for i, (a, b) in enumerate(pairwise(lines), 1) if a.backbone != b.backbone]
    about = f"Plan of table {request.table.number}: {request.table.title}; nothing was loaded."
    return TextTable(
        caption=(about, *assumptions(request, rows, memory)),
        groups=(("", ("Backbone", "Editor")), ("", COLUMNS)),
        rows=tuple((row.backbone, row.editor, *_texts(row, memory)) for row in lines),
        breaks=tuple(breaks),
    )


def assumptions(request: Request, rows: Sequence[Row], memory: GpuMemory) -> Iterator[str]:
    """What the numbers rest on, a sentence or two each."""
    texts, dtype = json.loads(_TEXTS.read_text("utf-8")), request.config.dtype
    if request.config.embedded_data:
        yield texts["embedded"]
    else:
        yield texts["published"]
        yield texts["training"].format(rate=float(f"{request.rate:.2g}"))
        if counted := [label for label in recent_labels() if any(r.editor == label for r in rows)]:
            yield texts["counted"].format(names=", ".join(counted))
    yield texts["memory"].format(dtype=dtype, about=memory.about, usable=USABLE)
    yield texts["disk"]
    if unknown := sorted({row.editor for row in rows if not row.known}):
        yield texts["unknown"].format(names=", ".join(unknown))
    if untimed := sorted({row.editor for row in rows if row.hours is None}):
        yield texts["untimed"].format(names=", ".join(untimed))


def to_json(request: Request, rows: Sequence[Row], memory: GpuMemory) -> str:
    """Everything in hours and bytes."""

    def fits(row: Row) -> dict[str, str]:
        edit, train = memory.fits(row.edit_bytes), memory.fits(row.train_bytes)
        return {"edit_fits": edit, "train_fits": train}

    value = {
        "schema": SCHEMA,
        "table": request.table.number,
        "preset": request.config.preset,
        "dtype": request.config.dtype,
        "gpu_gib": list(memory.sizes),
        "assumptions": list(assumptions(request, rows, memory)),
        "rows": [row.to_dict() | fits(row) for row in rows],
        "total": totals(rows).to_dict(),
    }
    return json.dumps(value, indent=2) + "\n"


def _texts(row: Row, memory: GpuMemory) -> tuple[str, ...]:
    hours = row.editing_hours, row.asking_hours, row.training_hours, row.hours
    sizes = row.edit_bytes, row.train_bytes
    fitting = (text for size in sizes for text in (_gib(size), memory.fits(size)))
    disk = f"{row.disk_bytes / 1e9:,.2f}"
    return f"{row.cells:,}", f"{row.edits:,}", *map(_time, hours), *fitting, disk


def _time(hours: float | None) -> str:
    """In hours, minutes or seconds; a dash for nothing or nothing known."""
    if not hours:
        return EMPTY
    seconds = hours * HOUR
    for size, unit in _UNITS:
        if seconds >= size:
            count = seconds / size
            return f"{count:,.0f} {unit}" if count >= 10 else f"{count:.1f} {unit}"
    return f"{seconds:.0f} s"


def _gib(value: float | None) -> str:
    return EMPTY if value is None else f"{value / GIB:,.1f}"
