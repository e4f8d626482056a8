"""Seconds per edit and per inference of an editor: the paper's Table 3.

One inference is what one query costs: the retriever's encoder and its look-up where there is one,
and one teacher-forced forward with batch size 1. Tokenising for the language model is not counted,
because it is the same for every editor. Device work is waited for at both ends of every timing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from statistics import median, quantiles
from typing import Any

import torch

from bench.core.numerics import Clock
from bench.evaluation.checkpointing import Checkpoint, Checkpointer, EditSequence
from bench.evaluation.inference import Steering, unsteered
from editors.base import Editor, EditRequest
from editors.parts.generation import Stop, greedy
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch, batch_of

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
    those of a `checkpoint` are not applied again.

    Raises:
        ValueError: no request.
        StoppedEarly: on request.
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
    lm: LanguageModel,
    requests: Sequence[EditRequest],
    editor: Editor[Any] | None,
    *,
    queries: int,
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
    for number, batch in enumerate(_in_turn(_forced(lm, requests), queries)):
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
    return Seconds.of([clock.timed("query", work, batch) for batch in _in_turn(batches, count)])


def _in_turn(batches: Sequence[TokenBatch], count: int) -> Iterator[TokenBatch]:
    return islice(cycle(batches), count)


@torch.inference_mode()
def _forward(lm: LanguageModel, steering: Steering, batch: TokenBatch) -> None:
    with steering(batch):
        lm.target_logits(batch)
