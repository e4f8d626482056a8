"""Sizes and parts of RECIPE's network."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from transformers import RobertaConfig

from bench.checks.contract.tiny import encoder_config
from editors.parts.encoder import SentenceEncoder
from editors.parts.recipe.hparams import PAPER, TINY, RecipeHparams
from editors.parts.recipe.network import RecipeNetwork

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
