"""Sizes and parts of RECIPE's network, and its repository."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from transformers import RobertaConfig

from bench.checks.contract.tiny import encoder_config
from editors.parts.encoder import SentenceEncoder
from editors.parts.recipe.hparams import PAPER, TINY, RecipeHparams
from editors.parts.recipe.network import InnerProductIndex, PromptRepository, RecipeNetwork

ROBERTA_BASE = RobertaConfig(
    vocab_size=50265,
    hidden_size=768,
    num_hidden_layers=12,
    num_attention_heads=12,
    intermediate_size=3072,
    max_position_embeddings=514,
    type_vocab_size=1,
)
WIDTHS = {"gpt2-xl": 1600, "gpt-j-6b": 4096, "llama-2-7b": 4096}


def build(hparams: RecipeHparams, config: RobertaConfig, hidden_size: int) -> RecipeNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        encoder = SentenceEncoder(config, pool=hparams.pool)
        return RecipeNetwork(encoder, hparams, hidden_size).eval()


@pytest.mark.parametrize(
    ("pool", "backbone", "count"),
    [
        ("code4", "gpt2-xl", 219_836_864),
        ("code4", "gpt-j-6b", 250_515_200),
        ("code4", "llama-2-7b", 250_515_200),
        ("paper3", "gpt2-xl", 212_954_816),
        ("paper3", "llama-2-7b", 243_633_152),
    ],
)
def test_trainable_parameters_at_paper_scale(pool: str, backbone: str, count: int) -> None:
    """The paper reports 220M and 250M: only pooling with the pooler output matches."""
    hparams = RecipeHparams.from_dict(PAPER.to_dict() | {"pool": pool})
    with torch.device("meta"):
        network = build(hparams, ROBERTA_BASE, WIDTHS[backbone])
    assert sum(p.numel() for p in network.parameters()) == count


@torch.no_grad()
def test_the_sentinel_mode_decides_whether_embeddings_are_skipped() -> None:
    code = build(TINY, encoder_config(), 8)
    embedded = build(dataclasses.replace(TINY, sentinel="embedded"), encoder_config(), 8)
    assert torch.equal(code.sentinel, embedded.sentinel)
    assert code.sentinel.abs().max() <= 0.05
    by_hand = embedded.knowledge(embedded.encoder.forward_embedded(embedded.sentinel))
    torch.testing.assert_close(embedded.sentinel_key(), by_hand)
    assert not torch.allclose(code.sentinel_key(), embedded.sentinel_key())


def test_queries_may_start_as_a_copy_of_the_keys() -> None:
    own = build(dataclasses.replace(TINY, query_init="own"), encoder_config(), 8)
    copied = build(dataclasses.replace(TINY, query_init="knowledge"), encoder_config(), 8)
    pooled = torch.randn(3, own.encoder.pooled_size, generator=torch.Generator().manual_seed(1))
    assert torch.equal(copied.queries(pooled), copied.knowledge(pooled))
    assert not torch.equal(own.queries(pooled), own.knowledge(pooled))


def test_prompts_may_start_small() -> None:
    plain = build(dataclasses.replace(TINY, prompt_init_scale=1.0), encoder_config(), 8)
    small = build(dataclasses.replace(TINY, prompt_init_scale=0.25), encoder_config(), 8)
    keys = torch.randn(3, TINY.representation_width, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(small.prompts(keys), 0.25 * plain.prompts(keys))


# The repository: growth, retrieval against the sentinel, ties, and its state.


def repository(sentinel: list[float], threshold: float | None = None) -> PromptRepository:
    keys = torch.tensor([sentinel])
    at = None if threshold is None else lambda _: threshold
    return PromptRepository(keys, torch.zeros(1, 2, 3), threshold_at=at)


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
    restored = PromptRepository(store.keys, store.prompts, threshold_at=lambda _: 1.0)
    assert restored.retrieve(queries).tolist() == [0, 2, 0]


def test_the_threshold_follows_the_number_of_edits() -> None:
    levels = {0: 0.0, 1: 0.5, 2: 2.0}
    store = PromptRepository(
        torch.ones(1, 1), torch.zeros(1, 2, 3), threshold_at=levels.__getitem__
    )
    used = []
    for key in (1.0, 0.0):
        store.append(torch.tensor([[key]]), torch.ones(1, 2, 3))
        used.append(store.retrieve(torch.tensor([[1.0]])).tolist())
    assert used == [[1], [0]]
    restored = PromptRepository(store.keys, store.prompts, threshold_at=levels.__getitem__)
    assert restored.threshold == 2.0


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
