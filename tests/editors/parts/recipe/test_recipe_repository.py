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


@pytest.mark.parametrize(
    ("sentinel", "keys", "queries", "rows"),
    [
        ([1.0, 0.0], [], [[5.0, 5.0]], [0]),
        # The sentinel is beaten strictly. Its scores: 1, 2, 3, 1; of the keys twice 1, 2; -1, -2.
        ([1.0, 0.0], [[0, 1.0], [0, 2.0]], [[1.0, 1], [2.0, 1], [3.0, 1], [1.0, -1]], [2, 0, 0, 0]),
        ([0.0, 0.0], [[0, 1.0], [3.0, 0], [3.0, 0], [3.0, 0]], [[1.0, 0]], [2]),  # oldest of equals
    ],
)
def test_the_best_key_is_used_if_it_beats_the_sentinel(
    sentinel: list[float], keys: list[list[float]], queries: list[list[float]], rows: list[int]
) -> None:
    store = repository(sentinel)
    add(store, *keys)
    assert len(store) == len(keys)
    assert store.retrieve(torch.tensor(queries)).tolist() == rows


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
