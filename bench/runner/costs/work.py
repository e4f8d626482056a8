"""What the cells of a table do, in counts, and the memory of answering. Nothing is read.

Samples of a real set are counted by its published rows, those of the embedded world by what it
writes; a directory with part of a set has fewer. Questions of a sample: the edit itself, one
rephrasing and one locality question for ZSRE and CF; for RIPE 8.2, the embedded world's mean.
Memory rests on the assumptions of `editors.parts.needs` and on further ones, ours: 64 rows of 64
tokens answered at once, 20 new tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.core.grids import GridPoint, Measured
from bench.datasets import get_dataset
from bench.evaluation.inference import BATCH_SIZE
from bench.runner.kinds import QUERIES
from bench.world.files import ROWS
from editors.parts.needs import BYTES, Setting

ITEMS = {"zsre": 3.0, "counterfact": 3.0, "ripple_edits": 8.2}
_OTHER_ITEMS = 3.0
RECORD_BYTES = 600  # of one question in a record, measured on records of the embedded preset
# Test questions of the general-ability sets as the hub has them (CommonsenseQA's validation split,
# MMLU's test split, ANLI's three test splits, SQuAD 2.0's validation split), and the embedded ones.
QUESTIONS = {"csqa": 1_221, "mmlu": 14_042, "anli": 3_200, "squad2": 11_873}
EMBEDDED_QUESTIONS = {"csqa": 240, "mmlu": 500, "anli": 450, "squad2": 400}
_ASK_TOKENS, _NEW_TOKENS = 64, 20
_COVARIANCE_TEXTS = 3  # of the longest length in one forward: editors/parts/covariance.py


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
        sets = EMBEDDED_QUESTIONS if embedded else QUESTIONS
        questions = sum(min(count, task_limit or count) for count in sets.values())
        return Work(edits=point.n_edits, items=0.0, questions=questions)
    if measures == "times":
        return Work(edits=point.n_edits, items=0.0, queries=QUERIES)
    edits = min(point.limit or rows, rows) // point.n_edits * point.n_edits
    return Work(edits=edits, items=edits * items_of(point.dataset))


def samples_of(dataset: str, *, embedded: bool) -> int:
    """Test samples of a set."""
    if embedded and dataset in ROWS:
        return int(ROWS[dataset]["test"])
    declared = get_dataset(dataset)
    if declared.home is not None:  # a user's own: counted, if it is beside its code
        return len(declared.load("test", declared.home).samples)
    return declared.files["test"].rows


def items_of(dataset: str) -> float:
    """Mean questions of a sample."""
    return ITEMS.get(dataset, _OTHER_ITEMS)


def distinct_requests(points: Sequence[GridPoint], *, embedded: bool) -> int:
    """Requests of some points, at most: each sample of a data set is one."""
    largest: dict[str, int] = {}
    for point in points:
        rows = samples_of(point.dataset, embedded=embedded)
        drawn = min(point.limit or rows, rows)
        largest[point.dataset] = max(largest.get(point.dataset, 0), drawn)
    return sum(largest.values())


def answering_bytes(on: Setting) -> float:
    """A batch of questions, decoded with cached keys and values."""
    tokens = BATCH_SIZE * (_ASK_TOKENS + _NEW_TOKENS)
    cache = tokens * on.shape.layers * on.shape.cached * BYTES[on.dtype]
    return cache + on.logits(BATCH_SIZE) + on.block(BATCH_SIZE, _ASK_TOKENS)


def covariance_bytes(on: Setting, layers: int) -> float:
    """Sums in float64 of all layers, and one forward of documents without a gradient."""
    shape, size = on.shape, BYTES[on.dtype]
    tokens = _COVARIANCE_TEXTS * min(shape.context, 4096)
    values = 12 * shape.hidden + 4 * shape.inner
    keys = layers * tokens * shape.inner * (size + 8)
    return layers * 8 * shape.inner**2 + tokens * values * size + keys
