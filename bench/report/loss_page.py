"""The metric-loss table of the report: a line for each metric, editor, data set and n."""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.grids import TABLES
from bench.core.names import row_order
from bench.core.numerics import Spread
from bench.datasets import get_dataset
from bench.report.grid import Column, Grid, GridRow, Value, measured, plain
from bench.tables.labels import PRESET
from bench.tables.later_editors import marked, notes
from bench.tables.metric_loss import GENERATED, LEAK_OF_TOKENS, PROMPT_ONLY, TOKENS, Loss
from bench.tables.metric_loss_layout import EQUAL, METRIC
from bench.tables.tabulate import METRICS

FILTERS = ("Backbone", "Metric", "Editor", "Data set", "Edits", "Settings")
COLUMNS = (
    Column(name="Editor"),
    Column(name="Edits", number=True, about="number of sequential edits"),
    Column(name="Data set"),
    Column(name="Metric"),
    Column(name="Tokens", number=True, about="teacher-forced token accuracy: the printed number"),
    Column(name="lost: exact", number=True, about="where all tokens of a target must be hit"),
    Column(name="lost: leak", number=True, about="where retrieval sees the prompt alone"),
    Column(name="lost: stop", number=True, about="where an answer is decoded to its natural end"),
    Column(name="Decoded", number=True, about="exact match of decoded answers: what is left"),
    Column(name="lost: total", number=True, about="from tokens to decoded"),
    Column(
        name="lost: leak of tokens",
        number=True,
        about="token accuracy that is lost where retrieval sees the prompt alone",
    ),
    Column(name="Type"),
    Column(name="Backbone"),
    Column(name="Settings"),
)
_SAME = (
    f"{EQUAL}: the editor looks no text up, so that nothing can leak and the two numbers are one "
    "measurement."
)


def loss_grid(found: Sequence[Loss], *, csv: str) -> Grid:
    """All lines; pages filter them."""
    order = {name: i for i, name in enumerate(METRICS)}
    ordered = sorted(
        found,
        key=lambda one: (
            one.n_edits, row_order(one.editor, one.dataset), order[one.metric],
        ),
    )  # fmt: skip
    return Grid(
        key="metric-loss",
        title="What the metric hides",
        caption=(_SAME, *notes(one.editor for one in ordered)),
        columns=COLUMNS,
        rows=tuple(map(_row, ordered)),
        filters=FILTERS,
        csv=csv,
        short="In percent, and in points lost; above zero where something is lost",
        defaults=_defaults(ordered),
    )


def _defaults(found: Sequence[Loss]) -> dict[str, str]:
    """The averages of presets on the first backbone of a table."""
    there = {one.backbone for one in found}
    named = (name for table in TABLES.values() for name in table.backbones.values())
    backbone = next((name for name in named if name in there), "")
    settings = PRESET if any(one.settings == PRESET for one in found) else ""
    return {"Metric": METRIC, "Backbone": backbone, "Settings": settings}


def _row(one: Loss) -> GridRow:
    editor, label = marked(one.label, one.editor), get_dataset(one.dataset).label
    edits = f"{one.n_edits:,}"
    return GridRow(
        values=(
            plain(editor),
            plain(edits, one.n_edits),
            plain(label),
            plain(one.metric),
            _level(one, TOKENS),
            _lost(one, "exact"),
            _leak(one, "leak"),
            _lost(one, "stop"),
            _level(one, GENERATED),
            _lost(one, "total"),
            _leak(one, LEAK_OF_TOKENS),
            plain(one.family),
            plain(one.backbone),
            plain(one.settings),
        ),
        filters=dict(
            zip(
                FILTERS, (one.backbone, one.metric, editor, label, edits, one.settings), strict=True
            )
        ),
    )


def _level(one: Loss, name: str) -> Value:
    return measured(one.levels.get(name), keys=one.keys)


def _lost(one: Loss, step: str) -> Value:
    found = one.lost.get(step)
    return measured(None if found is None else _without_minus_zero(found), keys=one.keys)


def _leak(one: Loss, step: str) -> Value:
    if one.retrieves or PROMPT_ONLY not in one.levels:
        return _lost(one, step)
    return Value(text=EQUAL, sort=0.0)


def _without_minus_zero(found: Spread) -> Spread:
    return Spread(round(found.mean, 6) + 0.0, found.std, found.n)
