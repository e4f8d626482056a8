"""The constants of the paper's backbones, as the repositories that the presets name have them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from editors import registry

ROOT = Path(__file__).parents[2]
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


# ---- The bundle `paper` --------------------------------------------------------------------------


def test_what_the_paper_changes_is_what_the_page_of_bundles_says() -> None:
    lines = (ROOT / "docs/bundles.md").read_text("utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "`" in line]
    table = {
        (registry.resolve(row[0]), row[1].split("`")[1]): tuple(row[2:4])
        for row in rows
        if len(row) == 5 and row[0] != "editor"
    }
    changes = {}
    for key in registry.shipped():
        usual, paper = (
            registry.hparams_for(key, "llama-2-7b", bundle) for bundle in ("original", "paper")
        )
        for name, value in vars(paper).items():
            if value != vars(usual)[name]:
                changes[key, name] = (str(vars(usual)[name]), str(value))
    assert changes == table


@pytest.mark.parametrize("backbone", [*BACKBONES, "mini-llama", "another"])
def test_the_paper_ran_easyedits_code_for_most(backbone: str) -> None:
    values = {
        key: vars(registry.hparams_for(key, backbone, "paper"))
        for key in ("ft", "rome", "grace", "mend", "malmen", "lte", "r_rome")
    }
    assert values["ft"]["objective"] == "bos_label"
    assert [values[key]["mode"] for key in ("rome", "grace", "mend")] == ["easyedit"] * 3
    assert values["grace"]["n_iter"] == {"llama-2-7b": 100, "gpt-j-6b": 200, "gpt2-xl": 200}.get(
        backbone, 50
    )
    assert (values["malmen"]["tokens"], values["malmen"]["selection"]) == ("all", "reliability")
    assert (values["lte"]["threshold"], values["lte"]["learning_rate"]) == (0.3, 2e-5)
    assert values["r_rome"]["gate"] == "published"
    assert registry.hparams_for("memit", backbone, "paper") == registry.hparams_for(
        "memit", backbone
    )


def test_later_fields_are_in_no_cell_that_does_not_use_them() -> None:
    for key in registry.shipped():
        for name, preset in registry.editor_class(key).presets.items():
            for field in dataclasses.fields(preset):
                left_out = field.name in preset.later_fields and (
                    vars(preset)[field.name] == field.default
                )
                hidden = field.name in {"index", "index_above"} and key == "recipe"
                assert (field.name not in preset.to_dict()) == (left_out or hidden), (key, name)
