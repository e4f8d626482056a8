"""What stands under a figure: backbone, data, numbers of edits, samples, seeds and protocol."""

from __future__ import annotations

from collections.abc import Iterable

from bench.grids import TABLES
from bench.plots.plan import Plan
from bench.tabulate import caption_of
from editors import registry

EMBEDDED = "Embedded results test the code and the protocol, not the paper's claims."


def caption(title: str, plan: Plan) -> tuple[str, ...]:
    """Sentences for a figure of the plan's records; without them its marks mean nothing."""
    cells = plan.cells
    said = caption_of(plan.table or TABLES[1], cells, seeds={cell.seed for cell in cells})
    embedded = any(cell.dataset_revision.startswith("embedded") for cell in cells)
    return (title, said.measured, *([EMBEDDED] if embedded else []), said.protocol, said.seeds)


def labels(editors: Iterable[str]) -> str:
    """Editors as tables print them, separated by commas."""
    return ", ".join(registry.describe(key).label for key in editors)
