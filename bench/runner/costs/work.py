"""Points of a table to counts: edits, questions, trainings. Nothing is read.

Samples of a real set are counted by its published rows, those of the embedded world by what it
writes; a directory with part of a set holds fewer. Questions of a sample: the edit itself, one
rephrasing and one locality question for ZSRE and CF; for RIPE 8.2, the embedded world's mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.core.grids import GridPoint, Measured
from bench.datasets import get_dataset
from bench.runner.costs.known import QUESTIONS
from bench.runner.plan_times import QUERIES
from bench.world.edit_sets import ROWS

ITEMS = {"zsre": 3.0, "counterfact": 3.0, "ripple_edits": 8.2}
_OTHER_ITEMS = 3.0
RECORD_BYTES = 600  # of one question in a record, measured on records of the embedded preset
# Questions of the embedded world's sets of general ability.
EMBEDDED_QUESTIONS = {"csqa": 240, "mmlu": 500, "anli": 450, "squad2": 400}


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one cell does."""

    edits: int
    items: float  # questions about the edits, asked in each way
    questions: int = 0  # of general ability
    queries: int = 0  # that are timed


def work_of(
    point: GridPoint, measures: Measured, *, embedded: bool, task_limit: int | None = None
) -> Work:
    """The work of a cell.

    Args:
        point: the cell.
        measures: what its table measures.
        embedded: whether the data are the embedded world's.
        task_limit: questions of each set of general ability.

    Raises:
        ValueError: fewer samples than edits.
    """
    rows = samples_of(point.dataset, embedded=embedded)
    if rows < point.n_edits:
        raise ValueError(
            f"Data set {point.dataset} has {rows:,} samples, "
            f"but {point.n_edits:,} sequential edits need as many."
        )
    if measures == "general_ability":
        count = question_count(embedded=embedded, task_limit=task_limit)
        return Work(edits=point.n_edits, items=0.0, questions=count)
    if measures == "times":
        return Work(edits=point.n_edits, items=0.0, queries=QUERIES)
    edits = min(point.limit or rows, rows) // point.n_edits * point.n_edits
    return Work(edits=edits, items=edits * items_of(point.dataset))


def samples_of(dataset: str, *, embedded: bool) -> int:
    """Test samples of a set."""
    if embedded and dataset in ROWS:
        return int(ROWS[dataset]["test"])
    declared = get_dataset(dataset)
    if declared.home is not None:  # a user's own: counted, where it lies beside its code
        return len(declared.load("test", declared.home).samples)
    return declared.files["test"].rows


def items_of(dataset: str) -> float:
    """Mean questions of a sample."""
    return ITEMS.get(dataset, _OTHER_ITEMS)


def question_count(*, embedded: bool, task_limit: int | None) -> int:
    """Questions of general ability in one cell."""
    sets = EMBEDDED_QUESTIONS if embedded else QUESTIONS
    return sum(min(count, task_limit or count) for count in sets.values())


def distinct_requests(points: Sequence[GridPoint], *, embedded: bool) -> int:
    """Requests that some points make, at most: each sample of a data set is one."""
    largest: dict[str, int] = {}
    for point in points:
        rows = samples_of(point.dataset, embedded=embedded)
        drawn = min(point.limit or rows, rows)
        largest[point.dataset] = max(largest.get(point.dataset, 0), drawn)
    return sum(largest.values())
