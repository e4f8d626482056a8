"""How long things take: the paper's seconds, our recorded ones, and counted operations.

Large models. Table 3 of the paper has seconds per edit and per inference of each editor on
LLaMA-2-7B after 10,000 edits, on hardware that it does not name. They are used for every number of
edits, and in proportion to the parameters for other backbones. A question is asked in two ways
(forced and greedy; forced only with `--metrics teacher_forced`), and in a third where retrieval by
the prompt alone is scored too. Each way counts as one inference of Table 3, though up to 64 rows
are asked at once (which takes less) and a greedy answer has up to 20 tokens (which takes more). A
timed query counts as twenty-two inferences: two forwards and a greedy answer.

Editors that Table 3 does not have are counted: operations of an edit (`editors.parts.needs`) over
the sustained rate. An inference takes as long as the unedited model's, and longer by the tokens of
the editor's prefix. Trainings and key covariances are counted too: every training to its last
iteration (early stopping shortens it), without its validations. Articles count as 1,000 tokens, cut
at the model's context; a layer's sum of k k^T takes 2 m^2 operations a token.

Miniature models. Seconds of the committed reference results (Tables 1, 5 and 6, one thread of a
CPU), per sample, from the cells of the same backbone, editor and data set with the nearest number
of edits; those of Table 2 per question, those of Table 3 per timed query. An editor without records
on a backbone takes mini-llama's seconds in proportion to the parameters.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from statistics import fmean
from typing import Any

from bench.core.grids import GridPoint
from bench.core.published import numbers
from bench.models.corpora import DOCUMENTS, EMBEDDED_TOKENS, PAPER_DOCUMENTS
from bench.runner.costs.sizes import shape_of_backbone
from bench.runner.costs.work import Work
from bench.runner.kinds import NEW_TOKENS
from bench.store.reference import has_reference, reference_records, table_records
from editors import registry
from editors.parts.needs import FORWARD, Needs, Shape
from editors.registry import CONTROL_SUFFIX

# Sustained TFLOP/s, ours: about half of what an A100 has for float32 without tensor cores, and a
# fifth of what it has for half precision, on short rows.
TERAFLOPS = {"float32": 10.0, "bfloat16": 60.0, "float16": 60.0}
CPU_TERAFLOPS = 0.02  # ours: one thread, small matrices
PUBLISHED_BACKBONE = "llama-2-7b"
RECORDED_BACKBONE = "mini-llama"  # on which every editor is recorded
ARTICLE_TOKENS = 1_000
_TIMES = 3  # the table of times
_EDITING_TABLES = (1, 5, 6)
_QUERY_FORWARDS = 2 + NEW_TOKENS
_PREFILLS = 3  # of a timed query: two forwards and a greedy answer
_ASKING = ("probe", "generate", "pristine")  # phases of a record


class PublishedRates:
    """Seconds on a large backbone: published, or else counted; None where nothing is known."""

    def __init__(
        self,
        shape: Shape,
        seconds: Callable[[float], float],
        needs: Callable[[GridPoint], Needs | None],
    ) -> None:
        """Args: `seconds` of a number of operations, and `needs` of a point's editor."""
        self._shape, self._seconds, self._needs = shape, seconds, needs
        self._scale = shape.parameters / shape_of_backbone(PUBLISHED_BACKBONE).parameters

    def editing(self, point: GridPoint, work: Work) -> float | None:
        """Seconds of a cell's edits."""
        published = _published(point.editor, "edit_time_s")
        if published is not None:
            return self._scale * work.edits * published
        needs = self._needs(point)
        if needs is None or needs.edit_operations is None:
            return None
        return work.edits * self._seconds(needs.edit_operations)

    def asking(self, point: GridPoint, work: Work, ways: int) -> float | None:
        """Seconds of a cell's questions, each asked in so many ways."""
        inferences = work.items * ways + work.questions + work.queries * _QUERY_FORWARDS
        published = _published(point.editor, "infer_time_s")
        if published is not None:
            return self._scale * inferences * published
        needs = self._needs(point)
        if needs is None or needs.edit_operations is None:
            return None
        longer = self._seconds(FORWARD * self._shape.parameters * needs.prefix)
        prefills = work.items * ways + work.questions + work.queries * _PREFILLS
        return inferences * self._unedited_inference() + prefills * longer

    def unedited(self, items: float, questions: int, ways: int) -> float:
        """Seconds of the unedited model's answers."""
        return (items * ways + questions) * self._unedited_inference()

    def _unedited_inference(self) -> float:
        """Seconds of an inference of the model itself: the fastest editor's."""
        cells = numbers(_TIMES).items()
        return self._scale * min(n.value for p, n in cells if p.metric == "infer_time_s")


class RecordedRates:
    """Seconds on a miniature backbone, of the committed reference; None where there are none."""

    def __init__(self, backbone: str) -> None:
        self._backbone = backbone.removesuffix(CONTROL_SUFFIX)

    def editing(self, point: GridPoint, work: Work) -> float | None:
        """Seconds of a cell's edits."""
        return _times(work.edits, self._nearest(point, "edit"))

    def asking(self, point: GridPoint, work: Work, ways: int) -> float | None:
        """Seconds of a cell's questions; records ask in all ways."""
        if work.questions:
            return work.questions * _recorded_question()
        if work.queries:
            return work.queries * _recorded_query()
        return _times(work.edits, self._nearest(point, "ask"))

    def unedited(self, items: float, questions: int, ways: int) -> float:
        """Seconds of the unedited model's answers; records of editing contain their share."""
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
    recorded = {
        n: seconds
        for (other, editor, dataset, n, of), seconds in _recorded().items()
        if (other, editor, dataset, of) == (backbone, point.editor, point.dataset, phase)
    }
    if not recorded:
        return None
    return recorded[min(recorded, key=lambda n: abs(math.log(n / point.n_edits)))]


def ways_of(editor: str, *, generated: bool) -> int:
    """In how many ways each question is asked of an edited model."""
    return 1 + generated + registry.editor_class(editor).retrieves_text


def _times(count: float, seconds: float | None) -> float | None:
    return None if seconds is None else count * seconds


@cache
def _published(editor: str, metric: str) -> float | None:
    label = registry.describe(editor).label
    cells = numbers(_TIMES).items()
    return next((n.value for p, n in cells if (p.editor, p.metric) == (label, metric)), None)


@cache
def _recorded() -> dict[tuple[str, str, str, int, str], float]:
    """Mean seconds per sample by backbone, editor, data set, number of edits and phase."""
    seconds_of = defaultdict(list)
    for table in _EDITING_TABLES:
        for record in table_records(table) if has_reference(f"table{table}") else ():
            cell, seconds = record["cell"], record["provenance"]["seconds"]
            samples = record["summary"]["blocks"] * cell["n_edits"]
            names = (cell["backbone"], cell["editor"], cell["dataset"], cell["n_edits"])
            seconds_of[*names, "edit"].append(seconds["edit"] / samples)
            asked = sum(seconds.get(phase, 0.0) for phase in _ASKING)
            seconds_of[*names, "ask"].append(asked / samples)
    return {names: fmean(values) for names, values in seconds_of.items()}


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


def covariance_operations(shape: Shape, layers: tuple[int, ...], tokens: int) -> float:
    """One pass over a corpus; blocks above the highest layer are not run."""
    share = (max(layers) + 1) / shape.layers
    return float(tokens * (FORWARD * shape.parameters * share + len(layers) * 2 * shape.inner**2))


def corpus_tokens(shape: Shape, *, hub: bool, embedded: bool, documents: int | None) -> int:
    """Tokens of the text that key covariances are computed on."""
    if embedded:
        return EMBEDDED_TOKENS
    count = documents or (PAPER_DOCUMENTS if hub else DOCUMENTS)
    return count * min(ARTICLE_TOKENS, shape.context)
