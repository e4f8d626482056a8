"""Table 2: general ability after edits, a row for each editor, and one for the unedited model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from bench.core.cells import check_one_way
from bench.core.grids import Table
from bench.core.numerics import Spread
from bench.core.published import UNEDITED, Published, PublishedCell
from bench.core.published import numbers as published_numbers
from bench.datasets import get_dataset
from bench.evaluation.general_ability.sets import SETS
from bench.evaluation.record_kinds import BUILT_IN, PROMPT_SETS, AbilityCell
from bench.store.results import Record
from bench.tables.table import (
    CSV_COLUMNS,
    MAIN,
    METRIC_OPTIONS,
    REMARKED,
    UNDEFINED,
    Metric,
    Number,
    Row,
    View,
    changes_sentence,
    origin,
    over_seeds,
    published_sentence,
    recent_notes,
    remark_notes,
    remarks_of,
    seeds_sentence,
    with_best,
)
from editors import registry

# Column -> (task, or None for the mean over tasks; name in its summary).
COLUMNS: dict[str, tuple[str | None, str]] = {
    **{task.label: (key, "score") for key, task in SETS.items()},
    "Avg": (None, "average"),
    "SQUAD-2 F1": ("squad2", "f1"),
    "SQUAD-2 EM": ("squad2", "exact"),
    "MMLU macro": ("mmlu", "macro"),
}
CSV_ONLY = "MMLU macro"
# Column -> (data set, metric) of the published table.
PUBLISHED_NAMES = {
    **{task.label: (task.label, task.measure) for task in SETS.values()},
    "Avg": ("ALL4", "mean"),
}
_SCORING = {
    "paper": "options by the largest logit of their first token at the prompt's last position",
    "lm-eval": "options by the log-likelihood of their text",
    "promptbench": "options by the decoded answer",
}
_WORDING = {
    BUILT_IN: "prompts of lm-eval's own tasks, SQUAD-2's of ours",
    PROMPT_SETS: "its prompt sets for MMLU, SQUAD-2 and ANLI (MNLI's), its methods on CSQA",
}


def view(
    table: Table,
    cells: Sequence[AbilityCell],
    records: Iterable[Record],
    _: Metric = METRIC_OPTIONS[MAIN],
) -> View:
    """The paper's layout: the four sets and their mean, each with the published value.

    Raises:
        ValueError: cells of several protocols.
    """
    check_one_way(cells)
    stored = {record["key"]: record for record in records}
    planned: dict[Row, list[AbilityCell]] = {}
    for cell in cells:
        planned.setdefault(_row(cell), []).append(cell)
    # What PromptBench scores is not what the paper printed.
    published = {} if cells[0].scoring == "promptbench" else published_numbers(table.number)
    numbers: list[Number] = []
    done: list[Record] = []
    for row, own in planned.items():
        answered = [record for cell in own if (record := stored.get(cell.key()))]
        blank = Number(
            row=row, protocol=own[-1].protocol_id, cells=tuple(own), remarks=remarks_of(answered)
        )
        numbers += _numbers(table, blank, own[-1], answered, published)
        done += answered
    return View(
        table=table,
        caption=tuple(_caption(table, cells, done, numbers)),
        numbers=with_best(numbers),
        lead=("n", "Edits", "Type", "Editor"),
        csv_columns=(*CSV_COLUMNS, "edit_set", "harness", "scoring", "task_limit"),
    )


def _row(cell: AbilityCell) -> Row:
    edits = cell.edits
    if edits is None:
        return Row(backbone=cell.backbone, n_edits=0, editor=None, label="unedited")
    entry = registry.describe(edits.editor)
    return Row(
        backbone=cell.backbone,
        n_edits=edits.n_edits,
        editor=edits.editor,
        label=entry.label,
        family=entry.family,
        edit_set=get_dataset(edits.dataset).label,
    )


def _numbers(
    table: Table,
    blank: Number,
    cell: AbilityCell,
    records: Sequence[Record],
    published: Mapping[PublishedCell, Published],
) -> Iterator[Number]:
    label = UNEDITED if blank.row.editor is None else blank.row.label
    for column, (_, metric) in COLUMNS.items():
        place = None
        if column in PUBLISHED_NAMES:
            place = PublishedCell(table.number, blank.row.n_edits, label, *PUBLISHED_NAMES[column])
        yield replace(
            blank,
            dataset=column.partition(" ")[0],
            column="" if column == CSV_ONLY else column,
            metric=metric,
            ours=_spread(records, column) if records else None,
            place=place,
            published=published.get(place) if place else None,
            marks=REMARKED if blank.remarks else "",
            competes=blank.row.editor is not None and column != CSV_ONLY,
            extra={
                "edit_set": blank.row.edit_set,
                "harness": cell.harness,
                "scoring": cell.scoring,
                "task_limit": "" if cell.task_limit is None else cell.task_limit,
            },
        )


def _spread(records: Sequence[Record], column: str) -> Spread:
    """Over the seeds; over the prompts, its mean over the seeds, where there are several."""
    task, name = COLUMNS[column]
    scores = [r["summary"] if task is None else r["summary"]["tasks"][task] for r in records]
    seeds = over_seeds([{name: float(own[name])} for own in scores])[name]
    if name != "score" or "spread" not in scores[0]:
        return seeds
    over_prompts = 100 * fmean(own["spread"] for own in scores)
    return Spread(mean=seeds.mean, std=over_prompts, n=seeds.n)


def _caption(
    table: Table,
    cells: Sequence[AbilityCell],
    done: Sequence[Record],
    numbers: Sequence[Number],
) -> Iterator[str]:
    cell = cells[0]
    streams = [own.edits for own in cells if own.edits is not None]
    after = " and ".join(f"{n:,}" for n in sorted({stream.n_edits for stream in streams}))
    yield (
        f"Table {table.number}: {table.title} after {after} sequential edits of "
        f"{', '.join(dict.fromkeys(map(origin, streams)))}, in percent."
    )
    yield (
        f"Measured on {cell.backbone} ({cell.dtype}); questions of {_questions(cell, done)}. "
        f"{_published(table, cell)}"
    )
    wording = _WORDING.get(cell.wording, f"prompts of our wording, {cell.wording}")
    yield (
        f"Harness {cell.harness}, scoring {cell.scoring}: {_SCORING[cell.scoring]}; {wording}, "
        f"zero-shot. Protocols: {', '.join(dict.fromkeys(n.protocol for n in numbers))}."
    )
    yield _measures(cell)
    yield (
        f"{seeds_sentence({stream.seed for stream in streams})} Bold: the best editor after the "
        f"same edits; the unedited model does not compete. {UNDEFINED}"
    )
    hparams = {stream.editor: stream.hparams for stream in streams}
    yield from filter(None, [changes_sentence(cell.backbone, hparams)])
    yield from recent_notes(n.row.editor for n in numbers)
    yield from remark_notes(numbers)


def _questions(cell: AbilityCell, done: Sequence[Record]) -> str:
    """`embedded world 0: CSQA 1,200, ... (all questions)`; nothing is known before any run."""
    tasks = done[0]["summary"]["tasks"] if done else {}
    counts = ", ".join(f"{SETS[key].label} {int(t['questions']):,}" for key, t in tasks.items())
    limit = "all questions" if cell.task_limit is None else f"a limit of {cell.task_limit:,} each"
    return f"{done[0]['data']['source'] if done else ''}: {counts} ({limit})"


def _published(table: Table, cell: AbilityCell) -> str:
    if cell.scoring == "promptbench":
        return "The published values are of another scoring and are not shown."
    warning = "another backbone and other questions: compare shapes, not values"
    return published_sentence(table, cell.backbone, warning=warning)


def _measures(cell: AbilityCell) -> str:
    means = "MMLU is the mean over all questions; Avg is the mean of the four."
    if cell.scoring == "promptbench":
        return (
            "± is the sample standard deviation over the prompts of a set, not over seeds; SQUAD-2 "
            f"is the F1 of the decoded answer, EM its exact match. {means}"
        )
    return (
        "SQUAD-2 is the mean reciprocal perplexity of the gold answer, F1 and EM (exact match) "
        f"those of the greedy answer. {means}"
    )
