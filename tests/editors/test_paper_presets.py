"""The constants of the paper's backbones, as the repositories that the presets name have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from editors import registry

BACKBONES = ("llama-2-7b", "gpt-j-6b", "gpt2-xl")
# One value, or one for each backbone in this order. Ours, where none is published: LLaMA's of WILKE
# (a quarter, as GPT-J's) and of AlphaEdit (EasyEdit's MEMIT), UltraEdit's but for GPT-J.
CONSTANTS: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("paper_presets.json").read_text("utf-8")
)


def test_every_editor_is_there() -> None:
    assert sorted(CONSTANTS) == sorted(registry.available())


@pytest.mark.parametrize("place", range(3), ids=BACKBONES)
@pytest.mark.parametrize("editor", CONSTANTS)
def test_constants(editor: str, place: int) -> None:
    hparams = registry.hparams_for(editor, BACKBONES[place]).to_dict()
    for name, value in CONSTANTS[editor].items():
        each = isinstance(value, list) and len(value) == 3
        wanted = value[place] if each else value
        assert hparams[name] == wanted, name


def test_ultraedits_other_models_are_those_of_its_repository() -> None:
    presets = registry.editor_class("ultraedit").presets
    named = {name: vars(presets[name]) for name in ("llama-3-8b-instruct", "qwen2.5-7b-instruct")}
    gates = {name: (each["gate_layers"], each["up_layers"]) for name, each in named.items()}
    both = tuple(range(18, 27))
    assert gates == {
        "llama-3-8b-instruct": (tuple(range(11, 16)), tuple(range(18, 25))),
        "qwen2.5-7b-instruct": (both, both),
    }
    assert {(each["layers"], each["lr"]) for each in named.values()} == {((), 1e-6)}


def test_the_loss_forms_of_the_recipe_paper_and_the_threshold_of_live_edit_have_names() -> None:
    losses = registry.preset_of("recipe", "paper-losses").to_dict()
    assert [losses[name] for name in ("sim", "contrastive")] == ["plain", "paper"]
    assert losses["edit_hinge"] is losses["contrastive_hinge"] is None
    assert [losses[name] for name in ("nll", "kl", "eps")] == ["seq_sum", "seq_sum", 0.0]
    assert registry.preset_of("recipe", "paper") == registry.preset_of("recipe", "llama-2-7b")
    assert registry.preset_of("lte", "liveedit").to_dict()["threshold"] == 0.3
