"""Seconds of a cell: the paper's own for large models, our recorded ones for the miniature ones.

Large models. Table 3 of the paper prints seconds per edit and per inference of each editor on
LLaMA-2-7B behind 10,000 edits, on hardware that it does not name. They count for every number of
edits, and in proportion to the parameters for other backbones. A question is asked in two ways
(forced and greedy; once with `--metrics teacher_forced`), and once more where retrieval by the
prompt alone is scored too; each way counts as one inference of Table 3, though up to 64 rows are
asked at once (which makes it less) and a greedy answer has up to 20 tokens (which makes it more).
A timed query counts as twenty-two inferences: two forwards and a greedy answer. Editors that Table
3 does not hold are counted by `bench.runner.costs.counted`.

Miniature models. Seconds of the committed reference results (Tables 1, 5 and 6, one thread of a
CPU), per sample, from the cells of the same backbone, editor and data set with the nearest number
of edits; those of Table 2 per question, those of Table 3 per timed query. An editor without records
on a backbone takes as much longer there than on mini-llama as the backbone is larger.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import defaultdict
from functools import cache
from statistics import fmean
from typing import Any

from bench.core.grids import GridPoint
from bench.core.published import numbers
from bench.runner.costs.shapes import shape_of_backbone
from bench.runner.costs.work import Work
from bench.runner.plan_times import NEW_TOKENS
from bench.store.reference import has_reference, reference_records, table_records
from editors import registry
from editors.parts.needs import Shape
from editors.registry import CONTROL_SUFFIX

TIMES = 3  # the table of times
PUBLISHED_BACKBONE = "llama-2-7b"
RECORDED_BACKBONE = "mini-llama"  # on which every editor is recorded
_EDITING_TABLES = (1, 5, 6)
_QUERY_FORWARDS = 2 + NEW_TOKENS
_ASKING = ("probe", "generate", "pristine")  # phases of a record


class Rates(ABC):
    """How long things take on one backbone; None where nothing is known."""

    @abstractmethod
    def editing(self, point: GridPoint, work: Work) -> float | None:
        """Seconds of a cell's edits."""

    @abstractmethod
    def asking(self, point: GridPoint, work: Work, ways: int) -> float | None:
        """Seconds of a cell's questions, each asked in so many ways."""

    @abstractmethod
    def unedited(self, items: float, questions: int, ways: int) -> float:
        """Seconds of the answers of the model as it was."""


class PublishedRates(Rates):
    """The paper's Table 3, in proportion to parameters."""

    def __init__(self, shape: Shape) -> None:
        known = shape_of_backbone(PUBLISHED_BACKBONE)
        self._scale = shape.parameters / known.parameters

    def editing(self, point: GridPoint, work: Work) -> float | None:
        """See the base class."""
        return _times(self._scale * work.edits, _published(point.editor, "edit_time_s"))

    def asking(self, point: GridPoint, work: Work, ways: int) -> float | None:
        """See the base class."""
        inferences = self._scale * self.inferences(work, ways)
        return _times(inferences, _published(point.editor, "infer_time_s"))

    def unedited(self, items: float, questions: int, ways: int) -> float:
        """See the base class."""
        return (items * ways + questions) * self.least()

    def inferences(self, work: Work, ways: int) -> float:
        """How many a cell's questions count as."""
        return work.items * ways + work.questions + work.queries * _QUERY_FORWARDS

    def least(self) -> float:
        """Seconds of an inference of the model itself: the fastest editor's."""
        found = numbers(TIMES).items()
        return self._scale * min(n.value for p, n in found if p.metric == "infer_time_s")


class RecordedRates(Rates):
    """The committed reference's seconds of a miniature backbone."""

    def __init__(self, backbone: str) -> None:
        self._backbone = backbone.removesuffix(CONTROL_SUFFIX)

    def editing(self, point: GridPoint, work: Work) -> float | None:
        """See the base class."""
        return _times(work.edits, self._nearest(point, "edit"))

    def asking(self, point: GridPoint, work: Work, ways: int) -> float | None:
        """See the base class; records ask in all ways."""
        if work.questions:
            return work.questions * _recorded_question()
        if work.queries:
            return work.queries * _recorded_query()
        return _times(work.edits, self._nearest(point, "ask"))

    def unedited(self, items: float, questions: int, ways: int) -> float:
        """See the base class; records of editing hold their share of it."""
        return questions * _recorded_question()

    def _nearest(self, point: GridPoint, phase: str) -> float | None:
        """Seconds per sample; without records of the backbone, from those of another."""
        own = _at_nearest(self._backbone, point, phase)
        if own is not None or self._backbone == RECORDED_BACKBONE:
            return own
        known, shape = shape_of_backbone(RECORDED_BACKBONE), shape_of_backbone(self._backbone)
        other = _at_nearest(RECORDED_BACKBONE, point, phase)
        return _times(shape.parameters / known.parameters, other)


def _at_nearest(backbone: str, point: GridPoint, phase: str) -> float | None:
    """Recorded seconds per sample of a backbone, at the nearest number of edits."""
    found = {
        n: seconds
        for (other, editor, dataset, n, of), seconds in _recorded().items()
        if (other, editor, dataset, of) == (backbone, point.editor, point.dataset, phase)
    }
    if not found:
        return None
    return found[min(found, key=lambda n: abs(math.log(n / point.n_edits)))]


def ways_of(editor: str, *, generated: bool) -> int:
    """In how many ways each question is asked of an edited model."""
    honest = registry.editor_class(editor).retrieves_text
    return 1 + generated + honest


def _times(count: float, seconds: float | None) -> float | None:
    return None if seconds is None else count * seconds


@cache
def _published(editor: str, metric: str) -> float | None:
    label = registry.describe(editor).label
    for place, number in numbers(TIMES).items():
        if (place.editor, place.metric) == (label, metric):
            return number.value
    return None


@cache
def _recorded() -> dict[tuple[str, str, str, int, str], float]:
    """Mean seconds per sample by backbone, editor, data set, number of edits and phase."""
    found = defaultdict(list)
    for table in _EDITING_TABLES:
        for record in table_records(table) if has_reference(f"table{table}") else ():
            cell, seconds = record["cell"], record["provenance"]["seconds"]
            samples = record["summary"]["blocks"] * cell["n_edits"]
            place = (cell["backbone"], cell["editor"], cell["dataset"], cell["n_edits"])
            found[*place, "edit"].append(seconds["edit"] / samples)
            asked = sum(seconds.get(phase, 0.0) for phase in _ASKING)
            found[*place, "ask"].append(asked / samples)
    return {place: fmean(values) for place, values in found.items()}


@cache
def _recorded_question() -> float:
    records = _records("table2")
    shares = [r["provenance"]["seconds"]["ask"] / r["summary"]["items"] for r in records]
    return fmean(shares) if shares else 0.0


@cache
def _recorded_query() -> float:
    """A query's forwards in both precisions, and its longer answer."""
    parts = ("forward", "forward_bfloat16", "generation")
    sums = [sum(r["summary"][part]["median"] for part in parts) for r in _records("table3")]
    return fmean(sums) if sums else 0.0


def _records(name: str) -> list[dict[str, Any]]:
    return reference_records(name) if has_reference(name) else []
