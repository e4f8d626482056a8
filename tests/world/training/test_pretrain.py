"""Pre-training: which backbone starts from which, and which checkpoints are resumed."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from bench.world.training import build, pretrain
from bench.world.training.batches import Training
from bench.world.world import DEFAULT_SEED

TRAINING = Training(steps=2, rows=1, width=8, checkpoint=1)


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
