"""What the cells of a table do, in counts, and how long that takes. No model is loaded.

Work. Samples of a real set are counted by its published rows, those of the embedded world by what
it writes; a directory with part of a set has fewer. Questions of a sample: the edit itself, one
rephrasing and one locality question for ZSRE and CF; for RIPE 8.2, the embedded world's mean.

Large models. Table 3 of the paper has seconds per edit and per inference of each editor on
LLaMA-2-7B after 10,000 edits, on hardware that it does not name. They are used for every number of
edits, and in proportion to the parameters for other backbones. A question is asked in two ways
(forced and greedy; forced only with `--metrics teacher_forced`), and in a third where retrieval by
the prompt alone is scored too. Each way counts as one inference of Table 3, though up to 64 rows
are asked at once (which takes less) and a greedy answer has up to 20 tokens (which takes more). A
timed query counts as twenty-two inferences: two forwards and a greedy answer.

Editors that Table 3 does not have are counted: operations of an edit (`editors.parts.needs`) over
the sustained rate: that of a GPU, or of the CPU at hand where a run would be on it. An inference
takes as long as the unedited model's, and longer by the tokens of the editor's prefix. Trainings
and key covariances are counted too: every training to its last iteration (early stopping shortens
it), without its validations. Articles count as 1,000 tokens, cut at the model's context; a layer's
sum of k k^T takes 2 m^2 operations a token.

Miniature models. Seconds of the committed reference results (Tables 1, 5 and 6, one thread of a
CPU), per sample, from the cells of the same backbone, editor and data set with the nearest number
of edits; those of Table 2 per question, those of Table 3 per timed query. An editor without records
on a backbone takes mini-llama's seconds in proportion to the parameters.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from statistics import fmean

from bench.core.grids import GridPoint, Measured, drawing
from bench.core.published import numbers
from bench.datasets import get_dataset
from bench.runner.costs.sizes import shape_of_backbone
from bench.runner.kinds import NEW_TOKENS, QUERIES
from bench.store.reference import has_reference, reference_records, table_records
from bench.store.results import Record
from bench.world.files import ROWS
from editors import registry
from editors.parts.needs import FORWARD, Needs, Shape
from editors.registry import CONTROL_SUFFIX

ITEMS = {"zsre": 3.0, "counterfact": 3.0, "ripple_edits": 8.2}
_OTHER_ITEMS = 3.0
# Test questions of the general-ability sets as the hub has them (CommonsenseQA's validation split,
# MMLU's test split, ANLI's three test splits, SQuAD 2.0's validation split), and the embedded ones.
QUESTIONS = {"csqa": 1_221, "mmlu": 14_042, "anli": 3_200, "squad2": 11_873}
EMBEDDED_QUESTIONS = {"csqa": 240, "mmlu": 500, "anli": 450, "squad2": 400}

# Sustained TFLOP/s, ours: about half of what an A100 has for float32 without tensor cores, and a
# fifth of what it has for half precision, on short rows.
TERAFLOPS = {"float32": 10.0, "bfloat16": 60.0, "float16": 60.0}
CPU_TERAFLOPS = 0.02  # ours: one thread, small matrices
_SHARE = 0.5  # of what products of matrices alone take, that a training sustains; ours
PUBLISHED_BACKBONE = "llama-2-7b"
RECORDED_BACKBONE = "mini-llama"  # on which every editor is recorded
_TIMES = 3  # the table of times
_EDITING_TABLES = (1, 5, 6)
_QUERY_FORWARDS = 2 + NEW_TOKENS
_PREFILLS = 3  # of a timed query: two forwards and a greedy answer
_ASKING = ("probe", "generate", "pristine")  # phases of a record

Seconds = tuple[
    float | None, float | None
]  # of a cell's edits, and of its questions; None: unknown


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one cell does."""

    edits: int
    items: float  # questions about the edits, asked in each way
    questions: int = 0  # of general ability
    queries: int = 0  # that are timed


def work_of(
    point: GridPoint, measures: Measured, *, embedded: bool, task_limit: int | None
) -> Work:
    """The work of a cell, whose data are the embedded world's or real ones.

    `task_limit` is of questions of each set of general ability. A ValueError is raised where there
    are fewer samples than edits.
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
    edits = drawn_of(point, rows) // point.n_edits * point.n_edits
    return Work(edits=edits, items=edits * items_of(point.dataset))


def drawn_of(point: GridPoint, rows: int) -> int:
    """Samples that a point draws of so many rows."""
    limit, _ = drawing(point.limit, point.n_edits, rows, point.seed)
    return min(limit or rows, rows)


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


class PublishedRates:
    """Seconds on a large backbone: published, or else counted."""

    def __init__(
        self,
        shape: Shape,
        seconds: Callable[[float], float],
        needs: Callable[[GridPoint], Needs | None],
    ) -> None:
        """Args: `seconds` of a number of operations, and `needs` of a point's editor."""
        self._shape, self._seconds, self._needs = shape, seconds, needs
        self._scale = shape.parameters / shape_of_backbone(PUBLISHED_BACKBONE).parameters

    def of_cell(self, point: GridPoint, work: Work, ways: int) -> Seconds:
        """Seconds of a cell, each of whose questions is asked in so many ways."""
        asked = work.items * ways + work.questions
        inferences = asked + work.queries * _QUERY_FORWARDS
        if published := _published(point.editor):
            edit, infer = published
            return self._scale * work.edits * edit, self._scale * inferences * infer
        needs = self._needs(point)
        if needs is None or needs.edit_operations is None:
            return None, None
        longer = self._seconds(FORWARD * self._shape.parameters * needs.prefix)
        prefills = asked + work.queries * _PREFILLS
        answers = inferences * self._unedited_inference() + prefills * longer
        return work.edits * self._seconds(needs.edit_operations), answers

    def unedited(self, items: float, questions: int, ways: int) -> float:
        return (items * ways + questions) * self._unedited_inference()

    def _unedited_inference(self) -> float:
        """Seconds of an inference of the model itself: the fastest editor's."""
        cells = numbers(_TIMES).items()
        return self._scale * min(n.value for p, n in cells if p.metric == "infer_time_s")


class RecordedRates:
    """Seconds on a miniature backbone, of the committed reference."""

    def __init__(self, backbone: str) -> None:
        self._backbone = backbone.removesuffix(CONTROL_SUFFIX)

    def of_cell(self, point: GridPoint, work: Work, ways: int) -> Seconds:
        """Seconds of a cell; records ask in all ways."""
        edit, ask = self._per_sample(point)
        editing, asking = _times(work.edits, edit), _times(work.edits, ask)
        if work.questions:
            asking = work.questions * _recorded_question()
        elif work.queries:
            asking = work.queries * _recorded_query()
        return editing, asking

    def unedited(self, items: float, questions: int, ways: int) -> float:
        """Seconds of the unedited model's answers; records of editing contain their share."""
        return questions * _recorded_question()

    def _per_sample(self, point: GridPoint) -> Seconds:
        """At the nearest number of edits; without records of the backbone, from another's."""
        for backbone in (self._backbone, RECORDED_BACKBONE):
            if there := _recorded().get((backbone, point.editor, point.dataset)):
                edit, ask = there[min(there, key=lambda n: abs(math.log(n / point.n_edits)))]
                if backbone == self._backbone:
                    return edit, ask
                sizes = [shape_of_backbone(name).parameters for name in (self._backbone, backbone)]
                return sizes[0] / sizes[1] * edit, sizes[0] / sizes[1] * ask
        return None, None


@cache
def measured_teraflops() -> float:
    """What the CPU of this machine sustains in float32, from a third of a second of products."""
    import torch

    rows, matrix = torch.ones(256, 1024), torch.ones(1024, 4096)
    products, start = 0, time.perf_counter()
    while (seconds := time.perf_counter() - start) < 1 / 3:
        rows @ matrix
        products += 1
    return _SHARE * products * 2 * rows.numel() * matrix.shape[1] / seconds / 1e12


def _times(count: float, seconds: float | None) -> float | None:
    return None if seconds is None else count * seconds


@cache
def _published(editor: str) -> tuple[float, float] | None:
    """Seconds of an edit and of an inference."""
    label = registry.describe(editor).label
    values = {p.metric: n.value for p, n in numbers(_TIMES).items() if p.editor == label}
    return (values["edit_time_s"], values["infer_time_s"]) if values else None


@cache
def _recorded() -> dict[tuple[str, str, str], dict[int, tuple[float, float]]]:
    """Mean seconds per sample of editing and of asking.

    They are by backbone, editor and data set, then by number of edits.
    """
    seeds = defaultdict(list)
    for table in _EDITING_TABLES:
        for record in table_records(table) if has_reference(f"table{table}") else ():
            cell, seconds = record["cell"], record["provenance"]["seconds"]
            samples = record["summary"]["blocks"] * cell["n_edits"]
            asked = sum(seconds.get(phase, 0.0) for phase in _ASKING)
            names = cell["backbone"], cell["editor"], cell["dataset"]
            seeds[names, cell["n_edits"]].append((seconds["edit"] / samples, asked / samples))
    means: dict[tuple[str, str, str], dict[int, tuple[float, float]]] = defaultdict(dict)
    for (names, n_edits), pairs in seeds.items():
        edit, ask = map(fmean, zip(*pairs, strict=True))
        means[names][n_edits] = edit, ask
    return means


def _mean(table: str, seconds: Callable[[Record], float]) -> float:
    """Over the records of a table of the reference; 0 without any."""
    values = [*map(seconds, reference_records(table))] if has_reference(table) else []
    return fmean(values) if values else 0.0


@cache
def _recorded_question() -> float:
    return _mean("table2", lambda r: r["provenance"]["seconds"]["ask"] / r["summary"]["items"])


@cache
def _recorded_query() -> float:
    """A query's forwards in both precisions, and its longer answer."""
    parts = ("forward", "forward_bfloat16", "generation")
    return _mean("table3", lambda r: sum(r["summary"][part]["median"] for part in parts))
