"""Pre-training: what another seed's backbone takes over, and which checkpoints are resumed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from bench.checks.contract.tiny import TINY
from bench.world import build, pretrain
from bench.world.batches import Training
from bench.world.inherit import inherit
from bench.world.world import DEFAULT_SEED
from editors.parts.language_model import LanguageModel

TRAINING = Training(steps=2, rows=1, width=8, checkpoint=1)


@pytest.fixture
def heir(tiny_lm: LanguageModel) -> tuple[LanguageModel, LanguageModel]:
    """A parent and another model of its architecture, whose tokenizer swaps half of the ids."""
    other = TINY[tiny_lm.model.config.model_type]()
    with torch.no_grad():
        for weight in other.model.parameters():
            weight.zero_()
    return tiny_lm, other


class Vocabulary:
    """As much of a tokenizer as inheriting looks at."""

    def __init__(self, tokens: dict[str, int]) -> None:
        self.tokens = tokens

    def get_vocab(self) -> dict[str, int]:
        return self.tokens


def test_rows_go_by_the_token_and_the_rest_as_it_is(
    heir: tuple[LanguageModel, LanguageModel],
) -> None:
    parent, child = heir
    before = parent.tokenizer.get_vocab()
    last = max(before.values())
    # Every token one id further down, and one that the parent does not have.
    moved = {token: (i + 1) % (last + 1) for token, i in before.items()}
    fresh = next(token for token, i in moved.items() if i == 5)
    moved["a new token"] = moved.pop(fresh)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert inherit(child.model, Vocabulary(moved), parent) == len(before) - 1  # type: ignore[arg-type]
    tables = ("get_input_embeddings", "get_output_embeddings")
    for table in tables:
        theirs = getattr(parent.model, table)().weight
        ours = getattr(child.model, table)().weight
        kept = [i for i in range(1, last + 1) if i != 5]
        assert torch.equal(ours[kept], theirs[[i - 1 for i in kept]])
        assert not torch.equal(ours[5], theirs[4])
        assert torch.equal(ours[0], theirs[last])
    named = {id(getattr(child.model, table)().weight) for table in tables}
    theirs_of = dict(parent.model.named_parameters())
    for name, weight in child.model.named_parameters():
        if id(weight) not in named:
            assert torch.equal(weight, theirs_of[name])


def test_only_backbones_of_other_seeds_have_a_parent() -> None:
    assert build.parent_of(DEFAULT_SEED, "mini-llama") is None
    assert build.parent_of(DEFAULT_SEED + 1, "mini-roberta") is None
    assert build.parent_of(DEFAULT_SEED + 1, "mini-llama") is not None


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    optimizer = pretrain._optimizer(model, TRAINING)
    path = tmp_path / "checkpoint.safetensors"
    pretrain._save(model, optimizer, path, 1, 2.5, TRAINING)
    assert pretrain._resume(model, optimizer, path, TRAINING) == (1, 2.5)
    other = Training(steps=3, rows=1, width=8, checkpoint=1)
    with pytest.raises(ValueError, match="other settings"):
        pretrain._resume(model, optimizer, path, other)
