"""Answers of a (steered) model to many probes: batched, in input order, whatever the batch size."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from bench.evaluation.batching import BatchSize, Course, answered
from bench.evaluation.metrics import ANSWER_END, MAX_ANSWER_TOKENS, Aspect
from editors.base import EditSample, Probe
from editors.parts.generation import Stop, forced_and_greedy, greedy
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import RetrievalText, TokenBatch, batch_of

BATCH_SIZE = 64  # ours: past it two CPU cores gain nothing; results do not depend on it

Steering = Callable[[TokenBatch], AbstractContextManager[None]]
Ids = tuple[int, ...]
ResultT = TypeVar("ResultT")


class Question(Protocol):
    """A prompt to the model, and the text that is forced behind it."""

    @property
    def prompt(self) -> str: ...

    @property
    def target(self) -> str: ...


QuestionT = TypeVar("QuestionT", bound=Question)


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question to the model, and the text that answers or forces it."""

    aspect: Aspect
    kind: str
    prompt: str
    target: str


@dataclass(frozen=True)
class Forced:
    """Teacher-forced result of an item: the target's ids and the argmax at their positions."""

    target_ids: Ids
    predicted_ids: Ids
    log_probability: float  # of the whole target


Both = tuple[Forced, Ids]  # teacher-forced and generated


def items_of(sample: EditSample) -> list[Item]:
    """The edit request itself, then the generality, then the locality probes of a sample."""
    request = sample.request
    items = [
        Item(aspect="reliability", kind="request", prompt=request.prompt, target=request.target)
    ]
    items += [_item("generality", probe) for probe in sample.generality]
    items += [_item("locality", probe) for probe in sample.locality]
    return items


def unsteered(_: TokenBatch) -> AbstractContextManager[None]:
    """Steering of a model as its weights are."""
    return nullcontext()


@torch.inference_mode()
def predict(
    lm: LanguageModel,
    items: Sequence[Question],
    steering: Steering = unsteered,
    *,
    retrieval_text: RetrievalText = "prompt_only",
    batch_size: BatchSize = BATCH_SIZE,
    course: Course[Forced] | None = None,
) -> list[Forced]:
    """Teacher-forced argmax at the target positions of every item, in the order of `items`."""

    def batched(chunk: Sequence[Question]) -> TokenBatch:
        pairs = [(item.prompt, item.target) for item in chunk]
        return batch_of(lm.tokenizer, pairs, device=lm.device, retrieval_text=retrieval_text)

    def answer(chunk: Sequence[Question]) -> list[Forced]:
        batch = batched(chunk)
        with steering(batch):
            logits = lm.target_logits(batch)  # [N, V]
        return _by_row(batch, logits.argmax(-1).tolist(), _log_probabilities(logits, batch))

    def pass_over(chunk: Sequence[Question]) -> None:
        with steering(batched(chunk)):
            pass

    return in_batches(items, answer, batch_size, course=course, pass_over=pass_over)


def generate(
    lm: LanguageModel,
    items: Sequence[Question],
    steering: Steering = unsteered,
    *,
    template: str = "{}",
    batch_size: BatchSize = BATCH_SIZE,
    end: re.Pattern[str] = ANSWER_END,
    max_new_tokens: int = MAX_ANSWER_TOKENS,
    course: Course[Ids] | None = None,
) -> list[Ids]:
    """Greedy answer ids of every item's prompt (put into `template`), in the order of `items`.

    Decoding stops by itself at the end-of-text id or where `end` matches.
    """
    stop = Stop.natural(lm.tokenizer, end)

    def batched(chunk: Sequence[Question]) -> TokenBatch:
        pairs = [(template.format(item.prompt), "") for item in chunk]
        return batch_of(lm.tokenizer, pairs, device=lm.device)

    def answer(chunk: Sequence[Question]) -> list[Ids]:
        batch = batched(chunk)
        with steering(batch):
            rows = greedy(lm, batch, max_new_tokens=max_new_tokens, stop=stop)
        return [tuple(row) for row in rows]

    def pass_over(chunk: Sequence[Question]) -> None:
        with steering(batched(chunk)):
            pass

    return in_batches(items, answer, batch_size, course=course, pass_over=pass_over)


@torch.inference_mode()
def predict_and_generate(
    lm: LanguageModel,
    items: Sequence[Question],
    steering: Steering = unsteered,
    *,
    shrink: bool = False,
    batch_size: BatchSize = BATCH_SIZE,
    course: Course[Both] | None = None,
) -> list[Both]:
    """What `predict` and `generate` give, from one reading of the bare prompts.

    For steering that does not depend on targets (`Editor.steers_by_prompt`), and with `shrink` for
    one that treats all rows alike.
    """
    stop = Stop.natural(lm.tokenizer, ANSWER_END)

    def batched(chunk: Sequence[Question]) -> TokenBatch:
        pairs = [(item.prompt, item.target) for item in chunk]
        return batch_of(lm.tokenizer, pairs, device=lm.device)

    def answer(chunk: Sequence[Question]) -> list[Both]:
        batch = batched(chunk)
        with steering(batch):
            logits, rows = forced_and_greedy(
                lm, batch, max_new_tokens=MAX_ANSWER_TOKENS, stop=stop, shrink=shrink
            )
        forced = _by_row(batch, logits.argmax(-1).tolist(), _log_probabilities(logits, batch))
        return list(zip(forced, map(tuple, rows), strict=True))

    def pass_over(chunk: Sequence[Question]) -> None:
        with steering(batched(chunk)):
            pass

    return in_batches(items, answer, batch_size, course=course, pass_over=pass_over)


def in_batches(
    items: Sequence[QuestionT],
    answer: Callable[[Sequence[QuestionT]], list[ResultT]],
    batch_size: BatchSize,
    *,
    course: Course[ResultT] | None = None,
    pass_over: Callable[[Sequence[QuestionT]], None] | None = None,
) -> list[ResultT]:
    """Answer items of similar length together (little padding), then restore their order.

    Batches are halved where memory is not enough; see `bench.evaluation.batching`, also for the
    last arguments.
    """
    order = sorted(range(len(items)), key=lambda i: len(items[i].prompt) + len(items[i].target))
    found = answered([items[i] for i in order], answer, batch_size, course, pass_over)
    results = dict(zip(order, found, strict=True))
    return [results[i] for i in range(len(items))]


def _item(aspect: Aspect, probe: Probe) -> Item:
    return Item(aspect=aspect, kind=probe.kind, prompt=probe.prompt, target=probe.target)


def _log_probabilities(logits: Tensor, batch: TokenBatch) -> list[float]:
    """Log-probability of each target token, from logits [N, V]."""
    scores = logits.float()
    chosen = scores.gather(-1, batch.labels[:, None])[:, 0]
    found: list[float] = (chosen - scores.logsumexp(-1)).tolist()
    return found


def _by_row(batch: TokenBatch, predicted: list[int], scores: list[float]) -> list[Forced]:
    """Cut the flat predictions and log-probabilities [N] into the rows' targets."""
    rows, start = [], 0
    for target in batch.target_ids:
        end = start + len(target)
        rows.append(Forced(target, tuple(predicted[start:end]), sum(scores[start:end])))
        start = end
    return rows
