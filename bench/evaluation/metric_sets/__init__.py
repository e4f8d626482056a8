"""Optional metric sets: measured beside a cell's own scores, when a run names them.

A set is a file: the module `retention` holds the set of that name. It looks at the unedited model,
after numbers of edits of its choice, and at the end of a block, when all ordinary questions of the
block have been asked. Its results are plain JSON values, from which its summary follows without a
model. `Measuring` calls a cell's sets on its stream of edits. Listing them imports no torch.
"""

from __future__ import annotations

import inspect
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from hashlib import sha256
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from bench.core.names import unknown_name
from bench.models.key_statistics import open_corpus
from editors.base import EditSample

if TYPE_CHECKING:
    from bench.core.cells import Cell
    from bench.core.numerics import Clock
    from bench.evaluation.inference import BatchLimit, Forced, Question
    from bench.evaluation.metrics import SampleRow
    from editors.base import Editor
    from editors.parts.tokens import RetrievalText

PHASE = "measures"
TEXTS = 50  # of the fixed text of metrics; ours
FACTS_IN_A_TEXT = 4

Block = Sequence[EditSample]


@cache
def available() -> tuple[str, ...]:
    """Names of all sets, in alphabetical order; none of them is imported."""
    return tuple(sorted({module.name for module in pkgutil.iter_modules(__path__)}))


@cache
def get_set(name: str) -> MetricSet:
    """The set of a name; for an unknown one, a ValueError with the nearest."""
    if name not in available():
        raise unknown_name("metric set", name, available())
    module = import_module(f"{__name__}.{name}")
    (cls,) = (
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, MetricSet)
        and value.__module__ == module.__name__
    )
    metric_set: MetricSet = cls()
    return metric_set


def identities(names: Iterable[str], inputs: MeasureInputs) -> Mapping[str, str]:
    """What each set adds to a cell's identity; an error where a set lacks what it reads."""
    return {name: get_set(name).identity(inputs) for name in sorted(names)}


@dataclass(frozen=True, kw_only=True)
class MeasureInputs:
    """What metric sets read beside the model and the edits: plain values that workers can get."""

    world_seed: int | None = None  # of the embedded world; None for real data
    text: str | None = None  # a corpus as `open_corpus` takes it; None: the world's text

    def texts(self) -> Sequence[str]:
        """The fixed text that no edit is about; ValueError if it is empty or none was named."""
        if self.text is None:
            if self.world_seed is None:
                raise ValueError(
                    "Measuring a collapse on real data needs a fixed text: --measure-text PATH, "
                    "such as the test split of WikiText-2 with one paragraph a line."
                )
            return world_texts(self.world_seed)
        texts = tuple(open_corpus(self.text, documents=TEXTS).texts())
        if not texts:
            raise ValueError(f"The text {self.text} is empty.")
        return texts

    def text_digest(self) -> str:
        """A digest of the text; errors as in `texts`."""
        return sha256("\n".join(self.texts()).encode()).hexdigest()[:16]


NO_INPUTS = MeasureInputs()


@lru_cache(maxsize=2)
def world_texts(seed: int) -> tuple[str, ...]:
    """A text of the embedded world: taught facts that no test edit touches, in taught phrasings.

    Its draws are its own, so no training corpus contains it.
    """
    from bench.world.world import World

    world = World(seed)
    rng = world.rng("fixed text of metrics")
    facts = world.unedited["test"]
    texts = []
    for _ in range(TEXTS):
        drawn = [facts[int(i)] for i in rng.integers(len(facts), size=FACTS_IN_A_TEXT)]
        texts.append(" ".join(f"{world.taught_phrasing(f, rng)} {f.object}." for f in drawn))
    return tuple(texts)


@dataclass(frozen=True, kw_only=True)
class RunningCell:
    """A cell while it runs, as its sets see it."""

    cell: Cell
    editor: Editor[Any]
    samples: Sequence[EditSample]  # all of the split, drawn or not
    limit: BatchLimit
    inputs: MeasureInputs
    after_batch: Callable[[], None]  # to be called after each batch and each further edit

    def forced(
        self,
        questions: Sequence[Question],
        *,
        edited: bool = True,
        retrieval_text: RetrievalText = "teacher_forced",
    ) -> list[Forced]:
        """Teacher-forced answers, through the editor's steering where the model is edited."""
        from bench.evaluation.inference import PartialAnswers, predict, unsteered

        return predict(
            self.editor.lm,
            questions,
            self.editor.steering if edited else unsteered,
            retrieval_text=retrieval_text,
            batch_size=self.limit,
            partial=PartialAnswers(after_batch=self.after_batch),
        )


@dataclass(frozen=True, kw_only=True)
class SetResults:
    """The results of one set in a cell."""

    before: Any  # of the unedited model, for all blocks
    blocks: Sequence[Mapping[str, Any]]  # by block: `stages`, by number of edits, and `end`


class MetricSet(ABC):
    """A definition of further metrics. A subclass is a file of `bench.evaluation.metric_sets`."""

    name: ClassVar[str]  # the module's name
    version: ClassVar[int]  # raised when any definition changes; part of a cell's identity
    title: ClassVar[str]  # over its table
    edits_on: ClassVar[bool] = False  # applies further edits at the end of a block
    most_blocks: ClassVar[int | None] = None  # the first ones that are measured; None: all

    def identity(self, inputs: MeasureInputs) -> str:
        """The set's part of a cell's identity: its version, and what else its numbers depend on."""
        return f"v{self.version}"

    def stages(self, n_edits: int) -> Collection[int]:
        """Numbers of edits of a block after which `after_edits` is called."""
        return ()

    def before(self, running: RunningCell, blocks: Sequence[Block]) -> Any:
        """Look at the unedited model; the results are the same however often it is called."""
        return None

    def after_edits(self, running: RunningCell, block: Block, n_edits: int) -> Any:
        """Look at the model after the first `n_edits` of a block; it stays as it is."""
        return None

    def at_end(self, running: RunningCell, number: int, block: Block, before: Any) -> Any:
        """Look at the model after all edits of a block, when the ordinary questions are asked.

        Unless the set edits on, the model stays as it is. `before` is the result of `before`.
        """
        return None

    @abstractmethod
    def summary(self, cell: Cell, rows: Sequence[SampleRow], results: SetResults) -> dict[str, Any]:
        """The numbers of the cell, from rows and results alone."""

    @abstractmethod
    def columns(self, summary: Mapping[str, Any]) -> Mapping[str, float | None]:
        """Column -> number as it is printed; None for what cannot be given."""


class Measuring:
    """Calls a cell's sets, and holds their results.

    Sets that edit on come last, each on the model as the block's own edits left it.
    """

    def __init__(
        self, sets: Sequence[MetricSet], running: RunningCell, clock: Clock, blocks: Sequence[Block]
    ) -> None:
        """The editor holds no edit."""
        self._running = running
        self._clock = clock
        self._blocks = blocks
        self._sets = sorted(sets, key=lambda metric_set: metric_set.edits_on)
        self._before: dict[str, Any] = {}
        # By set and block number, as a checkpoint stores them.
        self.results_so_far: dict[str, dict[str, dict[str, Any]]] = {s.name: {} for s in self._sets}

    def before(self) -> None:
        """Look at the unedited model."""
        if self._sets:
            with self._clock.phase(PHASE):
                self._before = {s.name: s.before(self._running, self._blocks) for s in self._sets}

    def resume(self, stored: Mapping[str, Any]) -> None:
        """Continue from the results of an earlier run."""
        self.results_so_far.update(stored)

    def after_edits(self, number: int, n_edits: int, checkpoint: Callable[[], None]) -> None:
        """Look at the model after the first edits of block `number`, where a set has not yet.

        `checkpoint` is called where the model is as the stream left it.
        """
        block, running = self._blocks[number], replace(self._running, after_batch=checkpoint)
        for metric_set in self._sets_of(number):
            if n_edits in metric_set.stages(len(block)):
                stages = self._results(metric_set, number)["stages"]
                if str(n_edits) not in stages:
                    with self._clock.phase(PHASE):
                        stages[str(n_edits)] = metric_set.after_edits(running, block, n_edits)

    def at_end(self, number: int, checkpoint: Callable[[], None]) -> None:
        """Look at the model after all edits of a block; sets may leave further edits in it.

        `checkpoint` is called as in `after_edits`, and so never after further edits.
        """
        editor, block = self._running.editor, self._blocks[number]
        todo = [s for s in self._sets_of(number) if "end" not in self._results(s, number)]
        for metric_set in todo:
            last = metric_set is todo[-1]
            state = editor.state_dict() if metric_set.edits_on and not last else None
            running = self._running
            if not metric_set.edits_on:
                running = replace(running, after_batch=checkpoint)
            with self._clock.phase(PHASE):
                end = metric_set.at_end(running, number, block, self._before[metric_set.name])
            self._results(metric_set, number)["end"] = end
            if not metric_set.edits_on:
                checkpoint()
            if state is not None:
                editor.reset()
                editor.load_state_dict(state)

    def results(self) -> dict[str, Any]:
        """All results, as plain values by set; nothing for a cell without sets."""
        return {
            name: {"before": self._before[name], "blocks": [*blocks.values()]}
            for name, blocks in self.results_so_far.items()
        }

    def _sets_of(self, number: int) -> list[MetricSet]:
        """The sets that measure block `number`."""
        return [s for s in self._sets if s.most_blocks is None or number < s.most_blocks]

    def _results(self, metric_set: MetricSet, number: int) -> dict[str, Any]:
        return self.results_so_far[metric_set.name].setdefault(str(number), {"stages": {}})
