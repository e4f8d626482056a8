"""Answers of a (steered) model: teacher-forced or decoded, batched, in input order.

Results do not depend on the batch size, which is halved when memory runs out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial as partial_of
from typing import Generic, NamedTuple, Protocol, TypeVar

import torch

from bench.evaluation.metrics import ANSWER_END, MAX_ANSWER_TOKENS
from editors.parts.generation import BeyondWindowError, Stop, forced_and_greedy, greedy
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import RetrievalText, TokenBatch, batch_of, sharing, target_ids

BATCH_SIZE = 64  # ours: past it two CPU cores gain nothing; results do not depend on it
# Characters of padding that cost as much as one more forward; ours, measured on SmolLM2-135M.
PADDING = 150
# What allocators report beside errors of a class of their own.
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")

Steering = Callable[[TokenBatch], AbstractContextManager[None]]
Ids = tuple[int, ...]
AnswerT = TypeVar("AnswerT")


class Question(Protocol):
    """A prompt to the model, and the text that is forced after it."""

    @property
    def prompt(self) -> str: ...

    @property
    def target(self) -> str: ...


class OpenQuestion(Question, Protocol):
    """A question whose answer is decoded."""

    @property
    def aliases(self) -> tuple[str, ...]:
        """Other right answers."""
        ...


QuestionT = TypeVar("QuestionT", bound=Question)


class Forced(NamedTuple):
    """Teacher-forced result of an item: the target's ids and the argmax at their positions."""

    target_ids: Ids
    predicted_ids: Ids
    log_probability: float  # of the whole target


Both = tuple[Forced, Ids]  # teacher-forced and generated


@dataclass
class BatchLimit:
    """Rows of a batch at most; halved when memory runs out, never raised again."""

    rows: int


BatchSize = int | BatchLimit


@dataclass
class PartialAnswers(Generic[AnswerT]):
    """The answers so far, in the order of asking; they grow batch by batch."""

    answers: list[AnswerT] = field(default_factory=list)
    after_batch: Callable[[], None] = lambda: None


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
    partial: PartialAnswers[Forced] | None = None,
) -> list[Forced]:
    """Teacher-forced argmax at the target positions of every item, in the order of `items`."""

    def answer(batch: TokenBatch, _: Sequence[Question]) -> list[Forced]:
        return _forced(batch, lm.target_logits(batch))

    tokenised = partial_of(with_targets, lm, retrieval_text=retrieval_text)
    return ask_in_batches(items, tokenised, answer, steering, batch_size, partial)


def generate(
    lm: LanguageModel,
    items: Sequence[OpenQuestion],
    steering: Steering = unsteered,
    *,
    template: str | None = "{}",
    batch_size: BatchSize = BATCH_SIZE,
    stop: Stop | None = None,
    max_new_tokens: int = MAX_ANSWER_TOKENS,
    partial: PartialAnswers[Ids] | None = None,
) -> list[Ids]:
    """Greedy answer ids of every item's prompt in a template (see `bare`), in the order of `items`.

    Decoding stops where an answer ends by itself (`stops_of`), or as `stop` has it.
    """

    def answer(batch: TokenBatch, chunk: Sequence[OpenQuestion]) -> list[Ids]:
        stops = stop or stops_of(lm, chunk)
        return list(map(tuple, greedy(lm, batch, max_new_tokens=max_new_tokens, stop=stops)))

    return ask_in_batches(
        items, lambda chunk: bare(lm, chunk, template), answer, steering, batch_size, partial,
        forwards=max_new_tokens,
    )  # fmt: skip


@torch.inference_mode()
def predict_and_generate(
    lm: LanguageModel,
    items: Sequence[OpenQuestion],
    steering: Steering = unsteered,
    *,
    shrink: bool = False,
    batch_size: BatchSize = BATCH_SIZE,
    partial: PartialAnswers[Both] | None = None,
) -> list[Both]:
    """The answers of `predict` and `generate`, from one reading of the bare prompts.

    For steering that does not depend on targets (`FastPaths.steers_by_prompt`), and with `shrink`
    for one that treats all rows alike.
    """

    def answer(batch: TokenBatch, chunk: Sequence[OpenQuestion]) -> list[Both]:
        logits, rows = forced_and_greedy(
            lm, batch,
            max_new_tokens=MAX_ANSWER_TOKENS, stop=stops_of(lm, chunk), shrink=shrink,
        )  # fmt: skip
        return list(zip(_forced(batch, logits), map(tuple, rows), strict=True))

    try:
        return ask_in_batches(
            items, lambda chunk: with_targets(lm, chunk), answer, steering, batch_size, partial,
            forwards=MAX_ANSWER_TOKENS,
        )  # fmt: skip
    except BeyondWindowError:
        forced = predict(lm, items, steering, batch_size=batch_size)
        generated = generate(lm, items, steering, batch_size=batch_size)
        return list(zip(forced, generated, strict=True))


def stops_of(lm: LanguageModel, items: Sequence[OpenQuestion]) -> list[Stop]:
    """Where the answers to some questions end by themselves, as `answer_in` cuts them.

    Every right answer has room, and what looks like an end inside of it is none.
    """
    natural, stops = Stop.natural(lm, ANSWER_END), []
    for item in items:
        right = [item.target, *item.aliases]
        tokens = max(len(target_ids(lm.tokenizer, text, item.prompt)) for text in right)
        stops.append(natural.beyond(right, tokens))
    return stops


def with_targets(
    lm: LanguageModel, items: Sequence[Question], retrieval_text: RetrievalText = "prompt_only"
) -> TokenBatch:
    """A batch of prompts with their targets."""
    pairs = [(item.prompt, item.target) for item in items]
    return batch_of(lm.tokenizer, pairs, device=lm.device, retrieval_text=retrieval_text)


def bare(lm: LanguageModel, items: Sequence[Question], template: str | None = "{}") -> TokenBatch:
    """A batch of prompts alone, put into a template, or with None exactly as they are."""
    if template is None:
        pairs = [(item.prompt, "") for item in items]
    else:
        pairs = [(template.format(item.prompt.rstrip()), "") for item in items]
    return batch_of(lm.tokenizer, pairs, device=lm.device, verbatim=template is None)


def ask_in_batches(
    items: Sequence[QuestionT],
    tokenised: Callable[[Sequence[QuestionT]], TokenBatch],
    answer: Callable[[TokenBatch, Sequence[QuestionT]], list[AnswerT]],
    steering: Steering,
    batch_size: BatchSize,
    partial: PartialAnswers[AnswerT] | None = None,
    *,
    forwards: int = 1,
) -> list[AnswerT]:
    """An answer for each item, in their order; items of similar length share a batch.

    A batch ends where padding would cost more than another one, of so many `forwards`. Each batch
    is `tokenised`, and `answer` is called inside its steering. An interrupted call is continued
    from its `partial` answers. A `BatchLimit` remembers how small batches had to become.
    """
    limit = batch_size if isinstance(batch_size, BatchLimit) else BatchLimit(batch_size)
    partial = PartialAnswers() if partial is None else partial
    order = sorted(range(len(items)), key=lambda i: _characters(items[i]))
    ordered = [items[i] for i in order]
    answered = len(partial.answers)
    # An editor may remember which questions it has steered: it steers these again.
    again = ordered[:answered]
    while again:
        chunk = _first_batch(again, limit.rows, forwards)
        with steering(tokenised(chunk)):
            pass
        again = again[len(chunk) :]
    while len(partial.answers) < len(items):
        rest = ordered[len(partial.answers) :]
        partial.answers += _next_batch(rest, tokenised, answer, steering, limit, forwards)
        partial.after_batch()
    by_item = dict(zip(order, partial.answers, strict=True))
    return [by_item[i] for i in range(len(items))]


def _next_batch(
    items: Sequence[QuestionT],
    tokenised: Callable[[Sequence[QuestionT]], TokenBatch],
    answer: Callable[[TokenBatch, Sequence[QuestionT]], list[AnswerT]],
    steering: Steering,
    limit: BatchLimit,
    forwards: int,
) -> list[AnswerT]:
    """Answers of the first items, as many as memory and attention's window hold."""
    chunk = _first_batch(items, limit.rows, forwards)
    while True:
        try:
            batch = tokenised(chunk)
            with steering(batch):
                return answer(batch, chunk)
        except BeyondWindowError:
            if len(chunk) == 1:
                raise
            chunk = chunk[:1]
            continue
        except (RuntimeError, MemoryError) as error:
            if len(chunk) == 1 or not _is_out_of_memory(error):
                raise
        # Outside of the clause: the error holds on to the tensors of the failed batch.
        limit.rows = len(chunk) // 2
        chunk = chunk[: limit.rows]
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def _first_batch(items: Sequence[QuestionT], rows: int, forwards: int) -> Sequence[QuestionT]:
    """The first of some items in the order of their lengths, which share a batch."""
    return items[: sharing([*map(_characters, items[:rows])], PADDING * forwards)]


def _characters(item: Question) -> int:
    return len(item.prompt) + len(item.target)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether an allocator, of an accelerator or of the CPU, gave up."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _OUT_OF_MEMORY)


def _forced(batch: TokenBatch, logits: torch.Tensor) -> list[Forced]:
    """Cut predictions and log-probabilities of logits [N, V] into the rows' targets."""
    predicted, scores = logits.argmax(-1).tolist(), logits.float()
    chosen = scores.gather(-1, batch.labels[:, None])[:, 0]
    log_probabilities = (chosen - scores.logsumexp(-1)).tolist()
    rows, start = [], 0
    for target in batch.target_ids:
        part = slice(start, start + len(target))
        rows.append(Forced(target, tuple(predicted[part]), sum(log_probabilities[part])))
        start = part.stop
    return rows
