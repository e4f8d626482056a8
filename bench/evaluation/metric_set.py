"""What an optional set of metrics is: asked for by name, measured beside a cell's own scores.

A set looks at the unedited model, behind numbers of edits of its choice, and at the end of a block,
when all ordinary questions of the block have been asked. What it finds are plain JSON values, from
which its summary follows without a model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from bench.core.cells import Cell
from bench.evaluation.inference import (
    BatchLimit,
    Forced,
    PartialAnswers,
    Question,
    predict,
    unsteered,
)
from bench.evaluation.metrics import SampleRow
from bench.models.measure_inputs import MeasureInputs
from editors.base import Editor, EditSample
from editors.parts.tokens import RetrievalText

Block = Sequence[EditSample]


@dataclass(frozen=True, kw_only=True)
class Running:
    """A cell while it is run, as its sets see it."""

    cell: Cell
    editor: Editor[Any]
    samples: Sequence[EditSample]  # all of the split, drawn or not
    room: BatchLimit  # in a batch
    inputs: MeasureInputs
    between: Callable[[], None]  # is called behind each batch and each further edit

    def forced(
        self,
        questions: Sequence[Question],
        *,
        edited: bool = True,
        retrieval_text: RetrievalText = "teacher_forced",
    ) -> list[Forced]:
        """Teacher-forced answers, through the editor's steering where the model is edited."""
        return predict(
            self.editor.lm,
            questions,
            self.editor.steering if edited else unsteered,
            retrieval_text=retrieval_text,
            batch_size=self.room,
            partial=PartialAnswers(after_batch=self.between),
        )


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one set found in a cell."""

    before: Any  # of the unedited model, for all blocks
    blocks: Sequence[Mapping[str, Any]]  # by block: `stages`, by edits made, and `end`


class MetricSet(ABC):
    """A definition of further metrics. A subclass is a file of `bench.evaluation.metric_sets`."""

    name: ClassVar[str]  # the module's name
    version: ClassVar[int]  # raised when any definition changes; part of a cell's identity
    title: ClassVar[str]  # over its table
    edits_on: ClassVar[bool] = False  # makes further edits at the end of a block
    most_blocks: ClassVar[int | None] = None  # the first ones that are measured; None: all

    def identity(self, inputs: MeasureInputs) -> str:
        """What a cell's identity says of the set; whatever else its numbers depend on is in it."""
        return f"v{self.version}"

    def stages(self, n_edits: int) -> Collection[int]:
        """Numbers of edits of a block behind which `behind` is called."""
        return ()

    def before(self, running: Running, blocks: Sequence[Block]) -> Any:
        """Look at the unedited model; what it gives is the same however often it is called."""
        return None

    def behind(self, running: Running, block: Block, made: int) -> Any:
        """Look at the model behind the first `made` edits of a block; it stays as it is."""
        return None

    def at_end(self, running: Running, number: int, block: Block, before: Any) -> Any:
        """Look at the model behind all edits of a block, when the ordinary questions are asked.

        Unless the set edits on, the model stays as it is. `before` is what `before` gave.
        """
        return None

    @abstractmethod
    def summary(self, cell: Cell, rows: Sequence[SampleRow], found: Found) -> dict[str, Any]:
        """The numbers of the cell, from what was found alone."""

    @abstractmethod
    def columns(self, summary: Mapping[str, Any]) -> Mapping[str, float | None]:
        """Column -> number as it is printed; None for what cannot be given."""
