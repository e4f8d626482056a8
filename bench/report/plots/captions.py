"""What stands under a figure: backbone, data, numbers of edits, samples, seeds and protocol."""

from __future__ import annotations

from collections.abc import Iterable

from bench.core.grids import TABLES
from bench.core.names import RECENT, in_paper
from bench.tables.figure_data.alike import Plan
from bench.tables.later_editors import MARK, marked
from bench.tables.tabulate import caption_of
from editors import registry

EMBEDDED = "Embedded results test the code and the protocol, not the paper's claims."


def caption(title: str, plan: Plan) -> tuple[str, ...]:
    """Sentences for a figure of the plan's records; without them its marks mean nothing."""
    cells = plan.cells
    said = caption_of(plan.table or TABLES[1], cells, seeds={cell.seed for cell in cells})
    embedded = any(cell.dataset_revision.startswith("embedded") for cell in cells)
    return (title, said.measured, *([EMBEDDED] if embedded else []), said.protocol, said.seeds)


def label(editor: str) -> str:
    """An editor as tables print it, with a mark where it is not in the paper's."""
    return marked(registry.describe(editor).label, editor)


def labels(editors: Iterable[str]) -> str:
    """Labels of editors, separated by commas."""
    return ", ".join(map(label, editors))


def recent_note(editors: Iterable[str], how: str = "") -> tuple[str, ...]:
    """What the mark of some of these editors means, if any has it; `how` their lines look."""
    if all(map(in_paper, editors)):
        return ()
    return (f"{MARK}{how and f' and {how}'}: {RECENT}.",)
