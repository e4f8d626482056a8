"""Batches shrink when memory runs out, and an interrupted call is continued."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

import editors
from bench.checks.contract.tiny import SAMPLES, tiny_llama, tiny_mistral, tuned
from bench.evaluation.inference import (
    PADDING,
    BatchLimit,
    PartialAnswers,
    ask_in_batches,
    generate,
    predict,
    predict_and_generate,
    stops_of,
)
from bench.evaluation.probing import Item, items_of
from editors.parts.generation import Stop, greedy
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch, batch_of, target_ids

FAILURES: list[Callable[[], Exception]] = [
    MemoryError,
    lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    lambda: RuntimeError("CUDA error: out of memory"),
    lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"),
    lambda: RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 4000000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
]


def questions(count: int) -> list[Item]:
    return [
        Item(aspect="reliability", kind="request", prompt="?" * n, target="") for n in range(count)
    ]


class Small:
    """Squares the lengths of prompts, and has memory for a few at a time."""

    def __init__(self, most: int, failure: Callable[[], Exception] = MemoryError) -> None:
        self.most, self.failure = most, failure
        self.sizes: list[int] = []
        self.steered: list[list[int]] = []

    def ask(
        self, items: Sequence[Item], batch_size: Any, partial: Any = None, forwards: int = 1
    ) -> list[int]:
        tokenised: Any = list
        return ask_in_batches(
            items, tokenised, self.answer, self.steering, batch_size, partial, forwards=forwards
        )

    def answer(self, _: Any, items: Sequence[Item]) -> list[int]:
        self.sizes.append(len(items))
        if len(items) > self.most:
            raise self.failure()
        return [len(item.prompt) ** 2 for item in items]

    @contextmanager
    def steering(self, batch: Any) -> Iterator[None]:
        self.steered.append([len(item.prompt) for item in batch])
        yield


@pytest.mark.parametrize("failure", FAILURES)
def test_lack_of_memory_halves_the_batch_for_good(failure: Callable[[], Exception]) -> None:
    small, limit = Small(3, failure), BatchLimit(10)
    assert small.ask(questions(12), limit) == [n**2 for n in range(12)]
    assert small.sizes == [10, 5, 2, 2, 2, 2, 2, 2]
    assert small.ask(questions(3)[::-1], limit) == [4, 1, 0]  # in the order of the questions
    assert small.sizes[-2:] == [2, 1]


@pytest.mark.parametrize(
    ("error", "sizes"),
    [
        (MemoryError(), [4, 2, 1]),  # not even alone
        (RuntimeError("shapes do not match"), [4]),  # no matter of size
        (ValueError("no"), [4]),
    ],
)
def test_other_errors_and_a_row_that_does_not_fit_alone_raise(
    error: Exception, sizes: list[int]
) -> None:
    small = Small(0, lambda: error)
    with pytest.raises(type(error)):
        small.ask(questions(4), 4)
    assert small.sizes == sizes


def test_the_error_of_the_real_allocator_is_known() -> None:
    def greedy(_: Any, items: Sequence[Item]) -> list[int]:
        if len(items) > 1:
            torch.empty(1 << 50)
        return [len(item.prompt) for item in items]

    steering = Small(9).steering
    assert ask_in_batches(questions(3), list, greedy, steering, 3) == [0, 1, 2]  # type: ignore[arg-type]


def test_a_batch_ends_where_padding_costs_more_than_another_one() -> None:
    small, short = Small(99), questions(11)[10]
    long = replace(short, prompt="?" * (11 + PADDING // 2))
    longest = replace(short, prompt="?" * 400)
    for forwards, sizes in ((1, [2, 1, 1]), (9, [4])):
        small.sizes.clear()
        items = [longest, short, long, short]
        answers = small.ask(items, 9, forwards=forwards)
        assert answers == [len(item.prompt) ** 2 for item in items]
        assert small.sizes == sizes


WINDOW = 8


ASKED = [
    Item(aspect="reliability", kind="request", prompt=prompt, target="Veltria old")
    for prompt in ("Ina is", "Where is the long road to the far north of the city", "Bern")
]


def test_every_right_answer_has_room_and_may_hold_what_looks_like_an_end() -> None:
    lm = tiny_mistral(None)
    item = replace(ASKED[0], target="Al")
    for aliases, whole in (((), "Al"), (("St. Al. Bo", "Mt. C"), "St. Al. Bo")):
        (stop,) = stops_of(lm, [replace(item, aliases=aliases)])
        assert (stop.inside, stop.room) == (whole.count(". "), len(target_ids(lm.tokenizer, whole)))
        ids = target_ids(lm.tokenizer, f"{whole}. It")
        assert not stop.ends(lm.tokenizer, ids[: stop.room])
        assert stop.ends(lm.tokenizer, ids)


def test_answers_of_a_model_with_a_window_do_not_depend_on_the_batch() -> None:
    lm = tiny_mistral(WINDOW)
    alone = [generate(lm, [item])[0] for item in ASKED]
    assert generate(lm, ASKED) == alone
    both = predict_and_generate(lm, ASKED)
    assert [ids for _, ids in both] == alone
    assert [forced for forced, _ in both] == predict(lm, ASKED)
    assert alone != [generate(tiny_mistral(None), [item])[0] for item in ASKED]
    by_hand = editors.get_editor("ft", lm.model, lm.tokenizer, hparams=tuned("ft"))
    prompts = [item.prompt for item in ASKED]
    assert by_hand.generate_all(prompts) == [by_hand.generate(prompt) for prompt in prompts]


def test_rows_beyond_a_window_are_never_decoded_together() -> None:
    lm = tiny_mistral(WINDOW)
    batch = batch_of(lm.tokenizer, [(i.prompt, "") for i in ASKED], device=lm.device)
    with pytest.raises(ValueError, match="tiny-mistral looks back at 8 tokens"):
        greedy(lm, batch, max_new_tokens=4, stop=Stop())


def test_an_interrupted_call_is_continued_after_its_partial_answers() -> None:
    small, steps = Small(9), []
    partial = PartialAnswers([0, 1, 4, 9, 16], lambda: steps.append(len(partial.answers)))
    assert small.ask(questions(8), 2, partial) == [n**2 for n in range(8)]
    assert small.sizes == [2, 1]
    assert small.steered == [[0, 1], [2, 3], [4], [5, 6], [7]]
    assert steps == [7, 8]


def test_predictions_are_the_same_with_less_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny_llama()
    items = [item for sample in SAMPLES for item in items_of(sample)]
    whole = predict(lm, items)
    forward, sizes = LanguageModel.target_logits, []

    def small(lm: LanguageModel, batch: TokenBatch) -> torch.Tensor:
        sizes.append(len(batch))
        if sizes[-1] > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(lm, batch)

    monkeypatch.setattr(LanguageModel, "target_logits", small)
    assert [a.predicted_ids for a in predict(lm, items)] == [a.predicted_ids for a in whole]
    assert sizes[:3] == [12, 6, 3]
