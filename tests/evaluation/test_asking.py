from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from bench.checks.contract.tiny import SAMPLES, tiny_llama
from bench.evaluation.inference import BatchLimit, PartialAnswers, in_batches, predict
from bench.evaluation.probing import items_of
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch

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


class Small:
    """Squares numbers, and has memory for a few at a time."""

    def __init__(self, most: int, failure: Callable[[], Exception] = MemoryError) -> None:
        self.most, self.failure = most, failure
        self.sizes: list[int] = []

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.sizes.append(len(numbers))
        if len(numbers) > self.most:
            raise self.failure()
        return [number**2 for number in numbers]


@pytest.mark.parametrize("failure", FAILURES)
def test_lack_of_memory_halves_the_batch_for_good(failure: Callable[[], Exception]) -> None:
    small, room = Small(3, failure), BatchLimit(10)
    assert in_batches(range(12), small, room) == [n**2 for n in range(12)]
    assert small.sizes == [10, 5, 2, 2, 2, 2, 2, 2]
    assert in_batches(range(3), small, room) == [0, 1, 4]
    assert small.sizes[-2:] == [2, 1]


def test_one_that_does_not_fit_alone_raises() -> None:
    small = Small(0)
    with pytest.raises(MemoryError):
        in_batches(range(4), small, 4)
    assert small.sizes == [4, 2, 1]


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), ValueError("no")])
def test_other_errors_are_no_matter_of_size(error: Exception) -> None:
    small = Small(1, lambda: error)
    with pytest.raises(type(error)):
        in_batches(range(4), small, 4)
    assert small.sizes == [4]


def test_the_real_allocators_complaint_is_known() -> None:
    def greedy(numbers: Sequence[int]) -> list[int]:
        if len(numbers) > 1:
            torch.empty(1 << 50)
        return list(numbers)

    assert in_batches(range(3), greedy, 3) == [0, 1, 2]


def test_asking_goes_on_behind_what_was_found() -> None:
    small, seen, steps = Small(9), [], []
    course = PartialAnswers([0, 1, 4, 9, 16], lambda: steps.append(len(course.answers)))
    found = in_batches(range(8), small, 2, course, lambda some: seen.append(list(some)))
    assert found == [n**2 for n in range(8)]
    assert small.sizes == [2, 1]
    assert seen == [[0, 1], [2, 3], [4]]
    assert steps == [7, 8]


@pytest.fixture
def lm() -> LanguageModel:
    return tiny_llama()


def test_predictions_are_the_same_with_less_memory(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [item for sample in SAMPLES for item in items_of(sample)]
    whole = predict(lm, items)
    forward, sizes = LanguageModel.target_logits, []

    def small(lm: LanguageModel, batch: TokenBatch) -> torch.Tensor:
        sizes.append(len(batch))
        if sizes[-1] > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(lm, batch)

    monkeypatch.setattr(LanguageModel, "target_logits", small)
    found = predict(lm, items)
    assert [one.predicted_ids for one in found] == [one.predicted_ids for one in whole]
    assert sizes[:3] == [12, 6, 3]
