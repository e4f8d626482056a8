"""The metric-loss table as columns of text and as CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.core.names import row_order
from bench.core.numerics import Spread
from bench.datasets import dataset_keys, get_dataset
from bench.tables.later_editors import marked, notes
from bench.tables.layout import EMPTY, LEAD, TextTable, number
from bench.tables.metric_loss import (
    EXACT,
    GENERATED,
    LEAK_OF_TOKENS,
    LEVELS,
    PROMPT_ONLY,
    STEPS,
    TOKENS,
    Loss,
)
from bench.tables.render import csv_of, decimal
from bench.tables.tabulate import seeds_sentence

METRIC = "Avg"  # what the text shows; the CSV has all of them
EQUAL = "="  # nothing is lost, by construction
COLUMNS = ("tokens", "-exact", "-leak", "-stop", "decoded")
HOW = (
    "tokens: teacher-forced token accuracy, the main column of Table 1. -exact: points lost where "
    "all tokens of a target must be hit, which is greedy decoding of as many tokens as the target "
    "has. -leak: further points lost where retrieval sees the prompt alone, not the target's "
    f"tokens; {EQUAL}: the editor looks no text up, so that the two are one measurement. "
    "-stop: further points lost where an answer is decoded to its natural end (below zero: gained, "
    "as case and articles do not count there). decoded: what is left."
)


def by_step(found: Sequence[Loss]) -> TextTable:
    """Avg along the chain, a group of columns for each data set.

    Raises:
        ValueError: no record of editing.
    """
    if not found:
        raise ValueError("The metric-loss table needs a record of editing, there is none.")
    ordered = sorted(
        (one for one in found if one.metric == METRIC),
        key=lambda one: (one.n_edits, row_order(one.editor, one.dataset)),
    )
    lines = {(one.n_edits, one.label): one for one in ordered}
    datasets = dataset_keys({one.dataset for one in ordered})
    at = {(one.n_edits, one.label, one.dataset): one for one in ordered}
    places = list(lines)
    return TextTable(
        caption=tuple(_caption(ordered)),
        groups=(("", LEAD), *((get_dataset(key).label, COLUMNS) for key in datasets)),
        rows=tuple(
            (
                f"{one.n_edits:,}",
                one.family,
                marked(one.label, one.editor),
                *(text for key in datasets for text in _texts(at.get((*place, key)))),
            )
            for place, one in lines.items()
        ),
        breaks=tuple(i for i in range(1, len(places)) if places[i][0] != places[i - 1][0]),
    )


def to_csv(found: Sequence[Loss]) -> str:
    """One line for each metric of each cell, all levels and all losses with their spreads."""
    numbers = (*LEVELS, *(f"lost_{step}" for step in (*STEPS, LEAK_OF_TOKENS)))
    pairs = [name for one in numbers for name in (one, f"{one}_std")]
    columns = ("backbone", "n_edits", "type", "editor", "in_paper", "dataset", "metric",
               "settings", "retrieves_text", "seeds", *pairs)  # fmt: skip
    return csv_of(columns, map(_csv_row, found))


def _caption(found: Sequence[Loss]) -> Iterator[str]:
    seeds = sorted({seed for one in found for seed in one.seeds})
    backbones = ", ".join(dict.fromkeys(one.backbone for one in found))
    yield f"What is lost from the printed metric to decoded answers, on {backbones}: {METRIC}."
    yield HOW
    yield f"{seeds_sentence(seeds)} {_dash()}"
    yield from notes(one.editor for one in found)


def _dash() -> str:
    return f"{EMPTY}: not asked, or not run."


def _texts(one: Loss | None) -> tuple[str, ...]:
    if one is None:
        return (EMPTY,) * len(COLUMNS)
    leak = number(one.lost.get("leak")) if one.retrieves else EQUAL
    return (
        number(one.levels.get(TOKENS)),
        number(one.lost.get("exact")),
        leak,
        number(one.lost.get("stop")),
        number(one.levels.get(GENERATED)),
    )


def _csv_row(one: Loss) -> tuple[str | int, ...]:
    levels = [one.levels.get(name) for name in (TOKENS, EXACT, PROMPT_ONLY, GENERATED)]
    lost = [one.lost.get(step) for step in (*STEPS, LEAK_OF_TOKENS)]
    return (
        one.backbone, one.n_edits, one.family, one.label, "no" if one.recent else "yes",
        get_dataset(one.dataset).label, one.metric, one.settings,
        "yes" if one.retrieves else "no", len(one.seeds),
        *(text for value in (*levels, *lost) for text in _pair(value)),
    )  # fmt: skip


def _pair(value: Spread | None) -> tuple[str, str]:
    return (
        decimal(value.mean if value else None),
        decimal(value.std if value else None),
    )
