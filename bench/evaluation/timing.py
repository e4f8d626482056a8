"""Seconds per edit and per inference of an editor: the paper's Table 3.

One inference is what one query costs: the retriever's encoder and its look-up where there is one,
and one teacher-forced forward with batch size 1. Tokenising for the language model is not counted,
because it is the same for every editor. Device work is waited for at both ends of every timing.

One cell is edits and queries in the cell's dtype, then the same queries in bfloat16. On a backbone
of random weights the editor's resources are stand-ins: right shapes, values that change no time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import cycle, islice
from math import prod
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from bench.core.numerics import Clock
from bench.evaluation.checkpointing import Checkpoint, Checkpointer, EditSequence
from bench.evaluation.context import Context
from bench.evaluation.inference import Steering, unsteered
from bench.evaluation.jobs import TimingJob
from bench.models.backbones import SEED
from bench.models.resources import Sources, resources_for
from editors import registry
from editors.base import Editor, EditRequest, Hparams, Resources, TrainableEditor
from editors.parts.generation import Stop, greedy
from editors.parts.language_model import LanguageModel
from editors.parts.target_value import BARE
from editors.parts.tokens import TokenBatch, batch_of, prompt_ids

WARM_UP = 5  # actions of each kind that are done first and not counted (ours),
WARM_SECONDS = 1.0  # and inferences for as long: the first of a process are slower
NEVER = Stop()  # so that every answer is decoded to its full length


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """How long an action took, over its repetitions."""

    median: float
    lower: float  # quartile
    upper: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Seconds:
        """Of at least one value."""
        lower, middle, upper = (
            quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
        )
        return cls(median=middle, lower=lower, upper=upper, count=len(values))


@dataclass(frozen=True, kw_only=True)
class Inference:
    """Seconds per query, of one teacher-forced forward and of some decoded tokens.

    `overhead` is the median ratio of a forward to the same one without the editor's steering, each
    pair measured directly after each other: a machine's speed drifts by more than editors cost.
    """

    forward: Seconds
    overhead: float
    generation: Seconds


def edit_seconds(
    editor: Editor[Any],
    requests: Sequence[EditRequest],
    *,
    checkpointer: Checkpointer | None = None,
    facts: Mapping[str, Any] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Seconds:
    """Seconds per edit, one request at a time, of an editor without edits.

    The warm-up's edits are undone, the others stay. They are stored with `facts`, JSON values;
    those of a `checkpoint` are not applied again. StoppedEarly on request.
    """
    if not requests:
        raise ValueError("Timing needs at least one edit, got none.")
    for request in requests[:WARM_UP]:
        editor.edit([request])
    editor.reset()
    sequence = EditSequence(editor, Clock(editor.lm.device), checkpointer or Checkpointer(), facts)
    sequence.resume(checkpoint)
    sequence.edit(requests)
    return Seconds.of(sequence.seconds)


def inference_seconds(
    lm: LanguageModel,
    requests: Sequence[EditRequest],
    editor: Editor[Any] | None,
    *,
    queries: int,
    new_tokens: int,
) -> Inference:
    """Seconds per query with the editor's present edits; without an editor, of the model as it is.

    The prompts of `requests` are asked in turn, `queries` times, with one teacher-forced forward
    and with `new_tokens` decoded.
    """
    steering = unsteered if editor is None else editor.steering
    free = [batch_of(lm.tokenizer, [(r.prompt, "")], device=lm.device) for r in requests]

    def decode(batch: TokenBatch) -> None:
        with steering(batch):
            greedy(lm, batch, max_new_tokens=new_tokens, stop=NEVER)

    forward = forward_seconds(lm, requests, editor, queries=queries)
    return Inference(
        forward=forward,
        overhead=1.0 if editor is None else _overhead(lm, requests, editor, queries),
        generation=_repeated(lm, free, queries, decode),
    )


def forward_seconds(
    lm: LanguageModel, requests: Sequence[EditRequest], editor: Editor[Any] | None, *, queries: int
) -> Seconds:
    """Seconds per teacher-forced forward; arguments as of `inference_seconds`."""
    steering = unsteered if editor is None else editor.steering
    return _repeated(lm, _forced(lm, requests), queries, partial(_forward, lm, steering))


def _overhead(
    lm: LanguageModel, requests: Sequence[EditRequest], editor: Editor[Any], queries: int
) -> float:
    """Median over queries of steered over unsteered; which of the two is first, takes turns."""
    clock, ratios = Clock(lm.device), []
    pair = [partial(_forward, lm, editor.steering), partial(_forward, lm, unsteered)]
    for number, batch in enumerate(islice(cycle(_forced(lm, requests)), queries)):
        order = (0, 1) if number % 2 else (1, 0)
        seconds = {which: clock.timed("query", pair[which], batch) for which in order}
        ratios.append(seconds[0] / seconds[1])
    return median(ratios)


def _forced(lm: LanguageModel, requests: Sequence[EditRequest]) -> list[TokenBatch]:
    return [batch_of(lm.tokenizer, [(r.prompt, r.target)], device=lm.device) for r in requests]


def _repeated(
    lm: LanguageModel, batches: Sequence[TokenBatch], count: int, work: Callable[[TokenBatch], None]
) -> Seconds:
    clock = Clock(lm.device)
    start, warm = time.perf_counter(), 0
    while warm < WARM_UP or time.perf_counter() - start < WARM_SECONDS:
        work(batches[warm % len(batches)])
        warm += 1
    in_turn = islice(cycle(batches), count)
    return Seconds.of([clock.timed("query", work, batch) for batch in in_turn])


@torch.inference_mode()
def _forward(lm: LanguageModel, steering: Steering, batch: TokenBatch) -> None:
    with steering(batch):
        lm.target_logits(batch)


# ---- one cell ----------------------------------------------------------------------------------

PUBLISHED_DTYPE, HALF = "float32", "bfloat16"  # queries in the second stand beside the first

# What context prefixes are cut from; a random model generates no readable text.
WORDS = "The people of the town met by the river in the evening and spoke of what the year brought"
EMPTY = 1e-3  # of the second moment in directions that old keys do not take


@dataclass(frozen=True)
class Edited:
    """An editor with its edits, apart from any model: it goes from one dtype to another."""

    cls: type[Editor[Any]]
    hparams: Hparams
    resources: Resources
    state: dict[str, Tensor]


class Session:
    """Times one cell, with its requests; at most one model is held at a time."""

    def __init__(
        self,
        job: TimingJob,
        context: Context,
        requests: Sequence[EditRequest],
        checkpointer: Checkpointer | None = None,
    ) -> None:
        self._job, self._context, self._requests = job, context, requests
        self._checkpointer = checkpointer or Checkpointer()

    def summary(self) -> dict[str, Any]:
        """Seconds by name, as records hold them; None for what the cell has not."""
        with TemporaryDirectory() as folder:
            summary, edited = self._in_dtype_of_cell(Path(folder))
            half = self._in_half(edited) if self._job.cell.dtype == PUBLISHED_DTYPE else None
        return summary | {"forward_bfloat16": half}

    def _in_dtype_of_cell(self, folder: Path) -> tuple[dict[str, Any], Edited | None]:
        cell, lm = self._job.cell, self._context.language_model(self._job)
        if cell.editor is None:
            return {"edit": None, **self._inference(lm, None), "trained_parameters": None}, None
        cls = registry.editor_class(cell.editor)
        hparams = cls.hparams_class.from_dict(cell.hparams)
        resources = self._resources(cls, lm, hparams, folder)
        checkpoint = self._checkpointer.read()
        seconds: dict[str, Any] = {} if checkpoint is None else dict(checkpoint.progress["seconds"])
        if cell.weights == "random" and hparams.stops_early:
            if "edit_least" not in seconds:
                hasty = cls(lm, hparams, replace(resources, stopping="at_once"))
                with _without_edits(hasty) as editor:
                    seconds["edit_least"] = self._edits(editor, {}, checkpoint)
                checkpoint = None
            resources = replace(resources, stopping="never")
        with _without_edits(cls(lm, hparams, resources)) as editor:
            seconds["edit"] = self._edits(editor, seconds, checkpoint)
            self._checkpointer.check()
            seconds |= self._inference(lm, editor)
            state = {name: tensor.clone() for name, tensor in editor.state_dict().items()}
        seconds["trained_parameters"] = _count(resources.artefact)
        return seconds, Edited(cls, hparams, resources, state)

    def _edits(
        self, editor: Editor[Any], before: Mapping[str, Any], checkpoint: Checkpoint | None
    ) -> dict[str, float]:
        """Seconds of the edits; those of edits `before` are stored with them."""
        seconds = edit_seconds(
            editor,
            self._requests[: self._job.cell.n_edits],
            checkpointer=self._checkpointer,
            facts={"seconds": dict(before)},
            checkpoint=checkpoint,
        )
        return asdict(seconds)

    def _in_half(self, edited: Edited | None) -> dict[str, float]:
        """Queries after the same edits; statistics and edits are those of the other dtype."""
        lm, queries = self._context.language_model(self._job, HALF), self._job.cell.queries
        if edited is None:
            return asdict(forward_seconds(lm, self._requests, None, queries=queries))
        with _without_edits(edited.cls(lm, edited.hparams, edited.resources)) as editor:
            editor.load_state_dict(edited.state)
            return asdict(forward_seconds(lm, self._requests, editor, queries=queries))

    def _inference(self, lm: LanguageModel, editor: Editor[Any] | None) -> dict[str, Any]:
        queries, new_tokens = self._job.cell.queries, self._job.cell.new_tokens
        return asdict(
            inference_seconds(lm, self._requests, editor, queries=queries, new_tokens=new_tokens)
        )

    def _resources(
        self, cls: type[Editor[Any]], lm: LanguageModel, hparams: Hparams, folder: Path
    ) -> Resources:
        sources = self._job.stream.sources
        sources.check(self._job.cell.inputs)
        if self._job.cell.weights == "random":
            return stand_ins(cls, lm, hparams, sources, folder)
        return resources_for(lm, hparams, sources)


def stand_ins(
    cls: type[Editor[Any]], lm: LanguageModel, hparams: Hparams, sources: Sources, directory: Path
) -> Resources:
    """Resources of an editor on a backbone of random weights, before any edit.

    The key covariance is diagonal, and all but empty in half of its directions, which AlphaEdit
    takes for no energy; context prefixes have the wanted numbers of tokens. An editor's own weights
    are untrained; they are written to `directory`.
    """
    weight = lm.module(lm.architecture.mlp_out, 0).get_parameter("weight")
    moment = torch.ones(lm.architecture.as_out_in(weight).shape[1])
    moment[len(moment) // 2 :] = EMPTY
    resources = Resources(
        encoder=sources.encoder,
        covariance=lambda _: torch.diag(moment),
        templates=(BARE, *(_prefix(lm, length) for length in hparams.template_lengths)),
        corpus=None if sources.corpus is None else sources.corpus.texts,
        training=None if sources.training is None else sources.training.samples,
        seed=SEED,
    )
    if not issubclass(cls, TrainableEditor):
        return resources
    return replace(resources, artefact=cls.untrained(lm, hparams, resources, out=directory))


def _prefix(lm: LanguageModel, length: int) -> str:
    """A context template whose prefix has about `length` tokens, special ones included."""
    ids = prompt_ids(lm.tokenizer, " ".join([WORDS] * length))[:length]
    return f"{lm.tokenizer.decode(ids, skip_special_tokens=True)}. {BARE}"


@contextmanager
def _without_edits(editor: Editor[Any]) -> Iterator[Editor[Any]]:
    """Reset before and, however it ends, after."""
    editor.reset()
    try:
        yield editor
    finally:
        editor.reset()


def _count(artefact: Path | None) -> int | None:
    """How many numbers an editor's own weights are; None where it has none."""
    if artefact is None:
        return None
    with safe_open(artefact, framework="pt") as file:
        counts = [prod(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118
    return int(sum(counts))
