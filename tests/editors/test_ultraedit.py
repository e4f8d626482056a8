from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from bench.checks.contract.tiny import REQUESTS, SAMPLES, tiny_gpt2, tiny_llama
from editors.base import Resources
from editors.ultraedit import Normaliser, UltraEditEditor, UltraEditHparams, edited_projections

HPARAMS = UltraEditHparams(layers=(1, 2), lr=1e-2, forward_batch=2, warm_up=0)


def editor_of(**changes: Any) -> UltraEditEditor:
    hparams = dataclasses.replace(HPARAMS, **changes)
    return UltraEditEditor(tiny_llama(), hparams, Resources(training=lambda: SAMPLES))


def test_a_single_row_has_no_spread_and_harms_nothing() -> None:
    """The original's statistics become undefined for ever."""
    normaliser = Normaliser(2, torch.float32)
    normaliser.update(torch.tensor([[1.0, 2.0]]))
    assert normaliser.squares.tolist() == [0, 0]
    normaliser.update(torch.tensor([[3.0, 2.0], [5.0, 4.0]]))
    assert bool(normaliser(torch.ones(1, 2)).isfinite().all())


def test_projections_of_one_shape_share_their_statistics() -> None:
    editor = editor_of(gate_layers=(0,), up_layers=(0,))
    editor.edit(REQUESTS[:2])
    counts = {shape: float(single.count) for shape, single in editor.normalisers.items()}
    tokens = sum(len(f.keys) for f in editor.features(REQUESTS[:2])[editor.projections[0].path])
    assert len(editor.projections) == 4
    assert counts == {"16x24": 2 * tokens, "24x16": 2 * tokens}


def test_statistics_start_from_training_edits_and_a_reset_returns_to_them() -> None:
    editor = editor_of(warm_up=3)
    started = editor.state_dict()
    (name,) = (name for name in started if name.endswith("count"))
    assert float(started[name]) > 0
    editor.edit(REQUESTS[:1])
    assert float(editor.state_dict()[name]) > float(started[name])
    editor.reset()
    assert all(torch.equal(value, started[name]) for name, value in editor.state_dict().items())


def test_the_warm_up_normalises_single_edits_to_one() -> None:
    """Its gradients must be of one edit a forward, as those of a stream are."""
    editor = editor_of(warm_up=16, forward_batch=8)
    projection = editor.projections[0]
    gradients = torch.cat(
        [
            editor.normalisers[projection.shape](batch.joined)[:, projection.d_in :]
            for request in (sample.request for sample in SAMPLES)
            for batch in editor.features([request])[projection.path]
        ]
    )
    assert 0.5 < float(gradients.square().mean().sqrt()) < 2.0


def test_training_edits_are_wanted_for_the_warm_up_alone() -> None:
    assert not HPARAMS.reads_training
    UltraEditEditor(tiny_llama(), HPARAMS, Resources())
    with pytest.raises(ValueError, match="UltraEdit needs training edits in its resources"):
        UltraEditEditor(tiny_llama(), UltraEditHparams(warm_up=5), Resources())


def test_projections_are_named_by_depth_or_by_number() -> None:
    actual = edited_projections(tiny_gpt2(), UltraEditHparams())
    assert [single.path for single in actual] == ["transformer.h.2.mlp.c_proj"]
    with pytest.raises(ValueError, match="gpt2 has one input projection a block"):
        edited_projections(tiny_gpt2(), UltraEditHparams(up_layers=(1,)))
    with pytest.raises(ValueError, match="at least one projection"):
        edited_projections(tiny_gpt2(), UltraEditHparams(layers=()))
