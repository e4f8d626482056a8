"""The repository: growth, retrieval against the sentinel, ties, and its state."""

from __future__ import annotations

import pytest
import torch

from editors.parts.recipe.network import InnerProductIndex, PromptRepository


def repository(sentinel: list[float], threshold: float | None = None) -> PromptRepository:
    keys = torch.tensor([sentinel])
    return PromptRepository(keys, torch.zeros(1, 2, 3), threshold=threshold)


def add(store: PromptRepository, *keys: list[float]) -> None:
    for key in keys:
        store.append(torch.tensor([key]), torch.full((1, 2, 3), float(len(store) + 1)))


def test_an_empty_repository_answers_nothing() -> None:
    store = repository([1.0, 0.0])
    assert len(store) == 0
    assert store.retrieve(torch.tensor([[5.0, 5.0]])).tolist() == [0]


def test_the_best_key_is_used_only_if_it_beats_the_sentinel_strictly() -> None:
    store = repository([1.0, 0.0])
    add(store, [0.0, 1.0], [0.0, 2.0])
    queries = torch.tensor([[1.0, 1.0], [2.0, 1.0], [3.0, 1.0], [1.0, -1.0]])
    # scores: sentinel 1, 2, 3, 1; keys (1, 2), (1, 2), (1, 2), (-1, -2)
    assert store.retrieve(queries).tolist() == [2, 0, 0, 0]


def test_of_equal_keys_the_oldest_is_used() -> None:
    store = repository([0.0, 0.0])
    add(store, [0.0, 1.0], [3.0, 0.0], [3.0, 0.0], [3.0, 0.0])
    assert store.retrieve(torch.tensor([[1.0, 0.0]])).tolist() == [2]


def test_a_threshold_stands_in_for_the_sentinel() -> None:
    store = repository([9.0, 0.0], threshold=-1.0)
    add(store, [0.0, 1.0], [0.0, -3.0])
    queries = torch.tensor([[1.0, 1.0], [1.0, -0.5], [5.0, 0.0]])
    # best scores 1, 1.5 and 0, all above -1; the sentinel's key would have won two of them
    assert store.retrieve(queries).tolist() == [1, 2, 1]
    store.threshold = 1.0  # must be beaten strictly
    assert store.retrieve(queries).tolist() == [0, 2, 0]
    restored = PromptRepository(store.keys, store.prompts, threshold=1.0)
    assert restored.retrieve(queries).tolist() == [0, 2, 0]


def test_rows_stay_as_they_were_while_the_repository_grows() -> None:
    store = repository([0.0, 0.0])
    for number in range(300):
        add(store, [float(number), 1.0])
    assert len(store) == 300
    assert store.keys[1:, 0].tolist() == [float(number) for number in range(300)]
    assert store.prompts[1:, 0, 0].tolist() == [float(number + 1) for number in range(300)]


def test_keys_and_prompts_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="one prompt for each of 2 keys, got 1"):
        repository([0.0]).append(torch.zeros(2, 1), torch.zeros(1, 2, 3))


def test_an_index_finds_what_exact_search_finds_while_the_repository_grows() -> None:
    pytest.importorskip("faiss", reason="faiss-cpu is an extra")
    generator = torch.Generator().manual_seed(0)
    keys = torch.randn(3_000, 32, generator=generator)
    exact, indexed = (
        PromptRepository(torch.zeros(1, 32), torch.zeros(1, 1, 1), index=index)
        for index in (None, InnerProductIndex(smallest=500))
    )
    for start, end in ((0, 499), (499, 1_000), (1_000, 1_001), (1_001, 3_000)):
        for store in (exact, indexed):
            store.append(keys[start:end], torch.zeros(end - start, 1, 1))
        noise = torch.randn(200, 32, generator=generator)
        queries = keys[torch.randint(end, (200,), generator=generator)] + 0.5 * noise
        queries[::10] *= -1
        ours, wanted = indexed.retrieve(queries), exact.retrieve(queries)
        assert (ours == wanted).float().mean() >= 0.97
        assert torch.equal(ours == 0, wanted == 0)
