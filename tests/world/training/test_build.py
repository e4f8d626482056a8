"""The miniature backbones: their size, their loss, and that they come back as they were saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from bench.models.backbones import EMBEDDED, at_directory, load
from bench.world.corpus import tokenizer_texts
from bench.world.training import build
from bench.world.training.pretrain import causal_loss
from bench.world.world import DEFAULT_SEED, World

IDS = torch.tensor([[5, 6, 7, 8, 9, 10], [11, 12, 5, 6, 13, 14]])
WEIGHTS = torch.tensor([[1.0, 0.5, 0.0, 1.0, 2.0, 1.0], [1.0, 0.0, 0.0, 1.0, 1.0, 0.5]])


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return list(tokenizer_texts(World(3), 300))


def built(name: str, texts: list[str]) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    make_tokenizer, make_model = build.BACKBONES[name]
    tokens = make_tokenizer(texts)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return make_model(tokens).eval(), tokens


@pytest.mark.parametrize("name", EMBEDDED)
def test_saved_in_half_it_comes_back_rounded(name: str, texts: list[str], tmp_path: Path) -> None:
    model, tokens = built(name, texts)
    assert 1e6 < sum(p.numel() for p in model.parameters()) < 3e6
    assert model.config.max_position_embeddings >= 512
    build.save_tokenizer(tokens, tmp_path)
    rounded = {key: value.half().float() for key, value in model.state_dict().items()}
    build._save_half(model, tmp_path)
    lm = load(at_directory(tmp_path, name=name))
    assert lm.dtype == torch.float32
    assert (tmp_path / "model.safetensors").stat().st_size < 4e6
    assert all(torch.equal(value, rounded[key]) for key, value in lm.model.state_dict().items())
    assert lm.tokenizer("Ann was born in")["input_ids"] == tokens("Ann was born in")["input_ids"]


@pytest.mark.parametrize("name", EMBEDDED)
@pytest.mark.parametrize("start", [None, 30])
def test_loss_is_the_weighted_mean_of_next_token_losses(
    name: str, start: int | None, texts: list[str]
) -> None:
    model, _ = built(name, texts)
    starts = () if start is None else (torch.tensor([[start], [0]]),)
    places = torch.arange(6) + (starts[0] if starts else torch.zeros(2, 1, dtype=torch.long))
    logits = model(input_ids=IDS, position_ids=places).logits
    each = F.cross_entropy(logits[:, :-1].flatten(0, 1), IDS[:, 1:].flatten(), reduction="none")
    weights = WEIGHTS[:, 1:].flatten()
    wanted = (each * weights).sum() / weights.sum()
    torch.testing.assert_close(causal_loss(model, (IDS, WEIGHTS, *starts)), wanted)


def test_a_start_moves_learned_positions(texts: list[str]) -> None:
    model, _ = built("mini-gpt2", texts)
    at_zero = causal_loss(model, (IDS, WEIGHTS))
    moved = causal_loss(model, (IDS, WEIGHTS, torch.full((2, 1), build.CONTEXT - 6)))
    assert not torch.allclose(at_zero, moved, rtol=1e-6)


def test_only_backbones_of_other_seeds_have_a_parent() -> None:
    assert tuple(build.BACKBONES) == EMBEDDED
    assert build.parent_of(DEFAULT_SEED, "mini-llama") is None
    assert build.parent_of(DEFAULT_SEED + 1, "mini-roberta") is None
    assert build.parent_of(DEFAULT_SEED + 1, "mini-llama") is not None
