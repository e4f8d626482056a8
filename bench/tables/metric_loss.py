"""How much accuracy falls from teacher forcing to free generation.

`HOW` explains the chain of measures, each stricter or more honest than the one before it. That all
forced tokens are hit equals greedy decoding that is stopped after as many tokens as the target has:
as long as every forced argmax hits, what is forced is what the model would have fed itself; where
one misses, the decoded answer has that wrong token in that place. (Locality compares with the
unedited model's argmax after the data set's answer instead; there the two may differ.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.core.cells import Cell, but_for_seed
from bench.core.grids import Table
from bench.core.names import in_paper, row_order
from bench.core.numerics import Spread
from bench.datasets import dataset_keys, get_dataset
from bench.evaluation.metrics import Channel, Measure
from bench.store.results import Record
from bench.tables.editing import row_of
from bench.tables.render import csv_of, decimals
from bench.tables.table import (
    EMPTY,
    METRICS,
    Number,
    Row,
    TextTable,
    View,
    absent_sentences,
    notes,
    over_seeds,
    seeds_sentence,
    settings_of,
)

# Level -> what is scored; `tokens_by_prompt` is no part of the chain.
LEVELS: Mapping[str, tuple[Channel, Measure]] = {
    "tokens": ("teacher_forced", "token_accuracy"),
    "exact": ("teacher_forced", "exact"),
    "prompt_only": ("prompt_only", "exact"),
    "generated": ("generated", "generated_exact"),
    "tokens_by_prompt": ("prompt_only", "token_accuracy"),
}
# Points lost -> (level before, level after); the last two are no part of the chain.
STEPS: Mapping[str, tuple[str, str]] = {
    "lost_exact": ("tokens", "exact"),
    "lost_leak": ("exact", "prompt_only"),
    "lost_stop": ("prompt_only", "generated"),
    "lost_total": ("tokens", "generated"),
    "lost_leak_of_tokens": ("tokens", "tokens_by_prompt"),
}
LEAKS = ("lost_leak", "lost_leak_of_tokens")  # nothing, for editors that look no text up
WRITTEN = (*(level for level in LEVELS if level != "tokens_by_prompt"), *STEPS)  # in the CSV
SHOWN = {  # in the text
    "tokens": "tokens", "-exact": "lost_exact", "-leak": "lost_leak", "-stop": "lost_stop",
    "decoded": "generated",
}  # fmt: skip
METRIC = "Avg"  # what the text shows; the CSV has all of them
EQUAL = "="  # nothing is lost, by construction
HOW = (
    "tokens: teacher-forced token accuracy, the main column of Table 1. -exact: points lost where "
    "all tokens of a target must be hit, which is greedy decoding of as many tokens as the target "
    "has. -leak: further points lost where retrieval sees the prompt alone, not the target's "
    f"tokens; {EQUAL}: the editor looks no text up, so that the two are one measurement. "
    "-stop: further points lost where an answer is decoded to its natural end (below zero: gained, "
    "as case and articles do not count there). decoded: what is left."
)


@dataclass(frozen=True, kw_only=True)
class Loss:
    """One metric of an editor at n edits on one data set, in percent and in points lost."""

    row: Row
    editor: str  # key
    dataset: str  # key
    settings: str  # `preset`, or what differs from it
    retrieves: bool  # whether it looks a text up
    metric: str  # of METRICS
    # Of LEVELS and STEPS, absent where it was not measured; points are above 0 where some are lost.
    # None at all where the data have no question of the metric.
    numbers: Mapping[str, Spread]
    seeds: tuple[int, ...]  # that have numbers
    keys: tuple[str, ...]  # of the cells


def losses(records: Sequence[Record]) -> list[Loss]:
    """The chain of every metric, cells that differ in their seed alone together, in their order.

    Other records than editing ones take no part, nor do decoded answers to another prompt.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record["cell"].get("kind") == Cell.kind:
            place = but_for_seed(record["cell"])
            groups.setdefault(place, []).append(record)
    return [loss for group in groups.values() for loss in _of_cells(group)]


def _of_cells(records: Sequence[Record]) -> Iterator[Loss]:
    cell = Cell.from_dict(records[0]["cell"])
    for metric, name in METRICS.items():
        chains = [(int(record["cell"]["seed"]), _chain(record, name)) for record in records]
        by_seed = {seed: chain for seed, chain in chains if chain}
        yield Loss(
            row=row_of(cell), editor=cell.editor, dataset=cell.dataset,
            settings=settings_of(cell), metric=metric, seeds=tuple(sorted(by_seed)),
            retrieves=bool(records[0]["editor"]["retrieves_text"]),
            numbers=over_seeds([*by_seed.values()], unit=1),
            keys=tuple(record["key"] for record in records),
        )  # fmt: skip


def _chain(record: Record, name: str) -> dict[str, float]:
    """The levels of one record in percent, then the points that each step loses."""
    after = record["summary"]["scores"]["after"]
    guided = record["cell"]["generation"] != "context_free"
    levels = {
        level: 100 * after[channel][measure][name]
        for level, (channel, measure) in LEVELS.items()
        if name in after.get(channel, {}).get(measure, {}) and not (guided and level == "generated")
    }
    return levels | {
        step: levels[before] - levels[after]
        for step, (before, after) in STEPS.items()
        if before in levels and after in levels
    }


def by_step(table: Table, lines: Sequence[Loss]) -> TextTable:
    """Avg along the chain, a group of columns for each data set.

    Raises:
        ValueError: no record of editing.
    """
    if not lines:
        raise ValueError("The metric-loss table needs a record of editing, there is none.")
    averages = sorted(
        (loss for loss in lines if loss.metric == METRIC),
        key=lambda loss: (loss.row.n_edits, row_order(loss.editor, loss.dataset)),
    )
    stored = {(loss.row, loss.dataset): loss for loss in averages}
    datasets = dataset_keys({loss.dataset for loss in averages})
    numbers = [
        _number(row, dataset, column, stored.get((row, dataset)))
        for row in dict.fromkeys(loss.row for loss in averages)
        for dataset in datasets
        for column in SHOWN
    ]
    seeds = {seed for loss in lines for seed in loss.seeds}
    lacking: dict[str, list[str]] = {}
    for loss in lines:
        if not loss.numbers:
            lacking.setdefault(get_dataset(loss.dataset).label, []).append(loss.metric)
    backbones = ", ".join(dict.fromkeys(loss.row.backbone for loss in averages))
    caption = (
        f"Accuracy lost from the printed metric to decoded answers, on {backbones}: {METRIC}.",
        HOW,
        f"{seeds_sentence(seeds)} {EMPTY}: not asked, or not run.",
        *absent_sentences(lacking),
        *notes(numbers),
    )
    return View(table=table, caption=caption, numbers=tuple(numbers)).text


def _number(row: Row, dataset: str, column: str, loss: Loss | None) -> Number:
    name, label = SHOWN[column], get_dataset(dataset).label
    if loss is not None and loss.numbers and name in LEAKS and not loss.retrieves:
        return Number(row=row, group=label, column=column, value=EQUAL)
    ours = None if loss is None else loss.numbers.get(name)
    return Number(row=row, group=label, column=column, ours=ours)


def to_csv(lines: Sequence[Loss]) -> str:
    """One line for each metric of each cell, all levels and all losses with their spreads."""
    numbers = [name for each in WRITTEN for name in (each, f"{each}_std")]
    columns = ("backbone", "n_edits", "type", "editor", "in_paper", "dataset", "metric",
               "settings", "retrieves_text", "seeds", *numbers)  # fmt: skip
    return csv_of(columns, map(_csv_row, lines))


def _csv_row(loss: Loss) -> tuple[str | int, ...]:
    row, yes = loss.row, {True: "yes", False: "no"}
    return (
        row.backbone, row.n_edits, row.family, row.label, yes[in_paper(loss.editor)],
        get_dataset(loss.dataset).label, loss.metric, loss.settings, yes[loss.retrieves],
        len(loss.seeds),
        *(text for name in WRITTEN for text in decimals(loss.numbers.get(name))),
    )  # fmt: skip
