"""Table 2 as columns of text and as CSV."""

from __future__ import annotations

from collections.abc import Iterator

from bench.evaluation.record_kinds import BUILT_IN, PROMPT_SETS
from bench.tables.general_ability.tabulate import (
    COLUMNS,
    MAIN_COLUMNS,
    AbilityRowData,
    AbilityTable,
)
from bench.tables.later_editors import marked, notes
from bench.tables.layout import REMARKED, TextTable, with_published
from bench.tables.render import CSV_COLUMNS, csv_of, decimal

LEAD = ("n", "Edits", "Type", "Editor")
SHOWN = (*MAIN_COLUMNS, "SQUAD-2 F1", "SQUAD-2 EM")
_SCORING = {
    "paper": "options by the largest logit of their first token at the prompt's last position",
    "lm-eval": "options by the log-likelihood of their text",
    "promptbench": "options by the decoded answer",
}
_WORDING = {
    BUILT_IN: "prompts of lm-eval's own tasks, SQUAD-2's of ours",
    PROMPT_SETS: "its prompt sets for MMLU, SQUAD-2 and ANLI (MNLI's), its methods on CSQA",
}


def by_task(data: AbilityTable) -> TextTable:
    """The paper's layout: the four sets and their mean, each with the published value."""
    return TextTable(
        caption=tuple(_caption(data)),
        groups=(("", LEAD), ("", SHOWN)),
        rows=tuple(_texts(row) for row in data.rows),
        breaks=tuple(_breaks(data)),
        best=frozenset(_best(data)),
    )


def to_csv(data: AbilityTable) -> str:
    """One line per number, in the form of the published tables, and how it was asked for."""
    return csv_of((*CSV_COLUMNS, "edit_set", "harness", "scoring", "task_limit"), _csv_rows(data))


def _texts(row: AbilityRowData) -> tuple[str, ...]:
    numbers = (
        with_published(
            row.values.get(c), row.published.get(c), marks=REMARKED if row.remarks else ""
        )
        for c in SHOWN
    )
    label = marked(row.label, _editor(row))
    return (f"{row.n_edits:,}", row.dataset or "-", row.family or "-", label, *numbers)


def _editor(row: AbilityRowData) -> str | None:
    return None if row.key is None else row.key[2]


def _breaks(data: AbilityTable) -> Iterator[int]:
    """A rule between the unedited model, and each number of edits on each edit set."""
    for i, (before, row) in enumerate(zip(data.rows, data.rows[1:], strict=False), start=1):
        if before.key is None or row.key is None or before.key[:2] != row.key[:2]:
            yield i


def _best(data: AbilityTable) -> Iterator[tuple[int, int]]:
    """The largest of each column among the editors behind the same edits; never the unedited."""
    edited = {i: row for i, row in enumerate(data.rows) if row.key is not None and row.values}
    for group in {row.key[:2] for row in edited.values() if row.key is not None}:
        rivals = {i: r for i, r in edited.items() if r.key is not None and r.key[:2] == group}
        for j, column in enumerate(SHOWN, start=len(LEAD)):
            means = {i: round(row.values[column].mean, 2) for i, row in rivals.items()}
            if len(means) > 1:
                yield from ((i, j) for i, mean in means.items() if mean == max(means.values()))


def _caption(data: AbilityTable) -> Iterator[str]:
    cell, table = data.cell, data.table
    numbers = sorted({row.n_edits for row in data.rows if row.key is not None})
    behind = " and ".join(f"{n:,}" for n in numbers)
    asked = ", ".join(f"{label} {count:,}" for label, count in data.questions.items())
    limit = "all questions" if cell.task_limit is None else f"a limit of {cell.task_limit:,} each"
    yield (
        f"Table {table.number}: {table.title} after {behind} sequential edits of "
        f"{', '.join(data.origins)}, in percent."
    )
    yield (
        f"Measured on {cell.backbone} ({cell.dtype}); questions of {data.source}: {asked} "
        f"({limit}). {_published(data)}"
    )
    ids = ", ".join(dict.fromkeys(row.protocol for row in data.rows))
    yield f"Harness {cell.harness}, scoring {cell.scoring}: {_scoring(data)} Protocols: {ids}."
    yield _measures(data)
    yield (
        f"{data.seeds} Bold: the best editor behind the same edits; the unedited model does not "
        "compete. A dash: undefined, or not run."
    )
    yield from filter(None, [data.changes])
    yield from notes(map(_editor, data.rows))
    found = [
        f"{row.label} at {row.n_edits:,} on {row.dataset}: {'; '.join(row.remarks)}"
        for row in data.rows
        if row.remarks
    ]
    if found:
        yield f"{REMARKED} {'. '.join(found)}."


def _published(data: AbilityTable) -> str:
    if data.cell.scoring == "promptbench":
        return "The published values are of another scoring and are not shown."
    same = data.cell.backbone == data.table.backbones["paper"]
    return f"In parentheses the published value on {data.table.published_backbone}" + (
        "." if same else ", another backbone and other questions: compare shapes, not values."
    )


def _scoring(data: AbilityTable) -> str:
    cell = data.cell
    wording = _WORDING.get(cell.wording, f"prompts of our wording, {cell.wording}")
    return f"{_SCORING[cell.scoring]}; {wording}, zero-shot."


def _measures(data: AbilityTable) -> str:
    means = "MMLU is the mean over all questions; Avg is the mean of the four."
    if data.cell.scoring == "promptbench":
        return (
            "± is the sample standard deviation over the prompts of a set, not over seeds; SQUAD-2 "
            f"is the F1 of the decoded answer, EM its exact match. {means}"
        )
    return (
        "SQUAD-2 is the mean reciprocal perplexity of the gold answer, F1 and EM (exact match) "
        f"those of the greedy answer. {means}"
    )


def _csv_rows(data: AbilityTable) -> Iterator[tuple[str | int, ...]]:
    cell = data.cell
    for row in data.rows:
        for column in COLUMNS:
            ours, theirs = row.values.get(column), row.published.get(column)
            yield (
                data.table.number,
                cell.backbone,
                row.n_edits,
                row.family,
                row.label,
                column.partition(" ")[0],
                COLUMNS[column][1],
                decimal(ours.mean if ours else None),
                decimal(ours.std if ours else None),
                ours.n if ours else 0,
                data.table.published_backbone,
                decimal(theirs.value if theirs else None),
                decimal(theirs.std if theirs else None),
                "; ".join(row.remarks),
                row.protocol,
                row.dataset,
                cell.harness,
                cell.scoring,
                "" if cell.task_limit is None else cell.task_limit,
            )
