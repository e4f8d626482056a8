"""RECIPE's hyper-parameters: presets, refusals, round trips."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from editors.parts.recipe.hparams import PAPER, PAPER_LOSSES, PRESETS, RecipeHparams


def test_the_papers_setting_by_name() -> None:
    for backbone in ("llama-2-7b", "gpt-j-6b", "gpt2-xl", "paper"):
        preset = PRESETS[backbone]
        assert (preset.iterations, preset.batch_size) == (150_000, 8)
        assert (preset.learning_rate, preset.checkpoint_interval) == (1e-5, 5_000)
        assert (preset.representation_width, preset.sentinel_length) == (4096, 10)
        assert (preset.prompt_length, preset.schedule, preset.pool) == (3, "joint", "code4")
        assert (preset.edit_hinge, preset.contrastive_hinge) == (1.2, 1.2)


def test_the_papers_loss_forms_by_name() -> None:
    assert PAPER.contrastive == "code"  # the default is the released form
    assert PAPER_LOSSES.sim == "plain"
    assert PAPER_LOSSES.contrastive == "paper"
    assert PAPER_LOSSES.edit_hinge is None
    assert PAPER_LOSSES.contrastive_hinge is None
    assert (PAPER_LOSSES.nll, PAPER_LOSSES.kl, PAPER_LOSSES.eps) == ("seq_sum", "seq_sum", 0.0)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_survive_a_round_trip(name: str) -> None:
    assert RecipeHparams.from_dict(PRESETS[name].to_dict()) == PRESETS[name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pool": "code3"}, "Unknown pool 'code3'. Did you mean 'code4'"),
        ({"positions": "moved"}, "Unknown positions 'moved'"),
        ({"batch_size": 0}, "batch_size must be a number of at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be a number above 0"),
        ({"edit_hinge": -1.0}, "edit_hinge must be a number above 0"),
        ({"weight_locality": -0.5}, "weight_locality must be a number of at least 0"),
        ({"ramp_start": 5, "ramp_end": 4}, "ramp_end must be a number of at least 5"),
        ({"iterations": 10, "ramp_end": 20}, "iterations must be a number of at least 20"),
    ],
)
def test_values_out_of_range_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PAPER, **change)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="'prompt_len' for RecipeHparams"):
        RecipeHparams.from_dict({"prompt_len": 3})
