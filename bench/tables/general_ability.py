"""Table 2: general ability after edits, a row for each editor, and one for the unedited model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from statistics import fmean

from bench.core.cells import check_one_way
from bench.core.grids import Table
from bench.core.numerics import Spread
from bench.core.published import UNEDITED, PublishedCell
from bench.datasets import get_dataset
from bench.evaluation.general_ability.sets import SETS
from bench.evaluation.record_kinds import BUILT_IN, PROMPT_SETS, AbilityCell
from bench.store.results import Record
from bench.tables.table import (
    CSV_COLUMNS,
    TOKEN_ACCURACY,
    UNDEFINED,
    Metric,
    Number,
    Row,
    View,
    changes_sentence,
    notes,
    origin,
    over_seeds,
    published_sentence,
    remarks_of,
    seeds_sentence,
    with_best,
)
from editors import registry

# Column -> (task, or None for the mean over tasks; name in its summary; data set and metric of the
# published table, where it has them).
COLUMNS: dict[str, tuple[str | None, str, tuple[str, str] | None]] = {
    **{t.label: (key, "score", (t.label, t.measure)) for key, t in SETS.items()},
    "Avg": (None, "average", ("ALL4", "mean")),
    "SQUAD-2 F1": ("squad2", "f1", None),
    "SQUAD-2 EM": ("squad2", "exact", None),
    "MMLU macro": ("mmlu", "macro", None),
}
CSV_ONLY = "MMLU macro"
_SCORING = {
    "paper": "options by the largest logit of their first token at the prompt's last position",
    "released": "options by the largest logit of their first token, bare after the prompt's last "
    "space, mean over all blocks of the edits",
    "lm-eval": "options by the log-likelihood of their text",
    "promptbench": "options by the decoded answer",
}
_OTHERS = ("lm-eval", "promptbench")  # scorings of libraries
_WORDING = {
    BUILT_IN: "prompts of lm-eval's own tasks, SQUAD-2's of ours",
    PROMPT_SETS: "its prompt sets for MMLU, SQUAD-2 and ANLI (MNLI's), its methods on CSQA",
}


def view(
    table: Table, cells: Sequence[AbilityCell], records: Iterable[Record], _: Metric | None = None
) -> View:
    """The paper's layout: the four sets and their mean; see `bench.tables.view`."""
    check_one_way(cells)
    stored = {record["key"]: record for record in records}
    planned: dict[Row, list[AbilityCell]] = {}
    for cell in cells:
        planned.setdefault(_row(cell), []).append(cell)
    numbers: list[Number] = []
    done: list[Record] = []
    for row, own in planned.items():
        answered = [record for cell in own if (record := stored.get(cell.key()))]
        numbers += _numbers(table, row, own, answered)
        done += answered
    return View(
        table=table, caption=tuple(_caption(table, cells, done, numbers)),
        numbers=with_best(numbers), lead=("n", "Edits", "Type", "Editor"),
        csv_columns=(*CSV_COLUMNS, "edit_set", "harness", "scoring", "task_limit"),
    )  # fmt: skip


def _row(cell: AbilityCell) -> Row:
    edits = cell.edits
    if edits is None:
        return Row(backbone=cell.backbone, n_edits=0)
    entry = registry.describe(edits.editor)
    return Row(
        backbone=cell.backbone, n_edits=edits.n_edits, editor=edits.editor, label=entry.label,
        family=entry.family, edit_set=get_dataset(edits.dataset).label,
    )  # fmt: skip


def _numbers(
    table: Table, row: Row, cells: Sequence[AbilityCell], records: Sequence[Record]
) -> Iterator[Number]:
    cell, label = cells[-1], UNEDITED if row.editor is None else row.label
    # What lm-eval and PromptBench score is not what the paper printed.
    printed = {} if cell.scoring in _OTHERS else TOKEN_ACCURACY.published(table)
    blank = Number(
        row=row, protocol=cell.protocol_id, cells=tuple(cells), remarks=remarks_of(records),
        competes=row.editor is not None,
        extra={
            "edit_set": row.edit_set, "harness": cell.harness, "scoring": cell.scoring,
            "task_limit": "" if cell.task_limit is None else cell.task_limit,
        },
    )  # fmt: skip
    for column, (task, metric, names) in COLUMNS.items():
        place = PublishedCell(table.number, row.n_edits, label, *names) if names else None
        yield replace(
            blank, dataset=column.partition(" ")[0], metric=metric, place=place,
            column="" if column == CSV_ONLY else column,
            ours=_spread(records, task, metric) if records else None,
            published=printed.get(place) if place else None,
        )  # fmt: skip


def _spread(records: Sequence[Record], task: str | None, name: str) -> Spread:
    """Over the seeds; over the prompts, its mean over the seeds, where there are several."""
    scores = [r["summary"] if task is None else r["summary"]["tasks"][task] for r in records]
    seeds = over_seeds([{name: float(own[name])} for own in scores])[name]
    if name != "score" or "spread" not in scores[0]:
        return seeds
    over_prompts = 100 * fmean(own["spread"] for own in scores)
    return Spread(mean=seeds.mean, std=over_prompts, n=seeds.n)


_MEANS = "MMLU is the mean over all questions; Avg is the mean of the four."
_SQUAD = (
    "SQUAD-2 is the mean reciprocal perplexity of the gold answer, F1 and EM (exact match) those "
    f"of the greedy answer. {_MEANS}"
)
_DECODED_SQUAD = (
    "± is the sample standard deviation over the prompts of a set, not over seeds; SQUAD-2 is the "
    f"F1 of the decoded answer, EM its exact match. {_MEANS}"
)


def _caption(
    table: Table, cells: Sequence[AbilityCell], done: Sequence[Record], numbers: Sequence[Number]
) -> Iterator[str]:
    cell = cells[0]
    streams = [own.edits for own in cells if own.edits is not None]
    after = " and ".join(f"{n:,}" for n in sorted({stream.n_edits for stream in streams}))
    yield (
        f"Table {table.number}: {table.title} after {after} sequential edits of "
        f"{', '.join(dict.fromkeys(map(origin, streams)))}, in percent."
    )
    tasks = done[0]["summary"]["tasks"] if done else {}
    counts = ", ".join(f"{SETS[key].label} {int(t['questions']):,}" for key, t in tasks.items())
    limit = "all questions" if cell.task_limit is None else f"a limit of {cell.task_limit:,} each"
    other = " and other questions: compare shapes, not values"
    decoded = cell.scoring == "promptbench"
    published = (
        "The published values are of another scoring and are not shown."
        if cell.scoring in _OTHERS
        else published_sentence(table, cell.backbone, other=other)
    )
    yield (
        f"Measured on {cell.backbone} ({cell.dtype}); questions of "
        f"{done[0]['data']['source'] if done else ''}: {counts} ({limit}). {published}"
    )
    wording = _WORDING.get(cell.wording, f"prompts of our wording, {cell.wording}")
    yield (
        f"Harness {cell.harness}, scoring {cell.scoring}: {_SCORING[cell.scoring]}; {wording}, "
        f"zero-shot. Protocols: {', '.join(dict.fromkeys(n.protocol for n in numbers))}."
    )
    yield _DECODED_SQUAD if decoded else _SQUAD
    yield (
        f"{seeds_sentence({stream.seed for stream in streams})} Bold: the best editor after the "
        f"same edits; the unedited model does not compete. {UNDEFINED}"
    )
    hparams = {stream.editor: stream.hparams for stream in streams}
    yield from filter(None, [changes_sentence(cell.backbone, hparams)])
    yield from reversed(list(notes(numbers)))
