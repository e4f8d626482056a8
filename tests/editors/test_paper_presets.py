"""The constants of the paper's backbones, as the repositories that the presets name have them."""

from __future__ import annotations

from typing import Any

import pytest

from editors import registry

BACKBONES = ("llama-2-7b", "gpt-j-6b", "gpt2-xl")
# One value, or one for each backbone in this order.
CONSTANTS: dict[str, dict[str, Any]] = {
    "ft": {
        "layer": (21, 21, 0),
        "num_steps": 25,
        "lr": 5e-4,
        "weight_decay": 0.0,
        "norm_constraint": (None, None, 5e-4),
        "objective": "prompt_last",
    },
    "rome": {
        "layer": (5, 5, 17),
        "v_num_grad_steps": (25, 20, 20),
        "v_lr": 0.5,
        "v_weight_decay": (1e-3, 0.5, 0.5),
        "clamp_norm_factor": 4.0,
        "kl_factor": 0.0625,
        "mode": "original",
    },
    "memit": {
        "layers": ((4, 5, 6, 7, 8), (3, 4, 5, 6, 7, 8), (13, 14, 15, 16, 17)),
        "v_num_grad_steps": (25, 25, 20),
        "v_lr": 0.5,
        "v_weight_decay": (1e-3, 0.5, 0.5),
        "clamp_norm_factor": (4.0, 0.75, 0.75),
        "kl_factor": 0.0625,
        "mom2_update_weight": (15_000.0, 15_000.0, 20_000.0),
    },
    "wilke": {
        "scanning_ceiling": (8, 7, 24),  # LLaMA's is ours: a quarter, as GPT-J's
        "v_num_grad_steps": (25, 20, 20),
        "v_lr": 0.5,
        "v_weight_decay": (1e-3, 0.5, 0.5),
        "clamp_norm_factor": 4.0,
        "kl_factor": 0.0625,
        "mode": "keep",
    },
    "t_patcher": {"mode": "decoder", "num_steps": 75, "lr": 1e-2, "weight_decay": 0.0},
    "grace": {
        "layer": (27, 25, 35),
        "eps": 1.0,
        "eps_unit": "absolute",
        "n_iter": (50, 200, 200),
        "edit_lr": 1.0,
        "replacement": "replace_last",
        "mode": "default",
    },
    "r_rome": {"layer": (5, 5, 17), "temperature": 0.1, "two_way": False, "heads": "trained"},
    "mend": {
        "layers": ((29, 30, 31), (25, 26, 27), (45, 46, 47)),
        "edit_rate": 1e-4,
        "learning_rate": 1e-6,
        "edit_rate_learning_rate": 1e-4,
        "weight_edit": 0.1,
        "max_grad_norm": 100.0,
        "batch_size": 10,
        "rank": 1920,
    },
    "malmen": {
        "layers": (tuple(range(26, 32)), tuple(range(22, 28)), tuple(range(42, 48))),
        "edit_rate": 1e-6,
        "learning_rate": 1e-5,
        "max_grad_norm": 1.0,
        "rank": 1920,
        "n_blocks": 2,
        "n_edits": 1,
    },
    "lte": {"learning_rate": 5e-6, "mode": "author", "threshold": None},
    "alphaedit": {
        # LLaMA's are ours: EasyEdit's MEMIT with AlphaEdit's threshold and ridge.
        "layers": ((4, 5, 6, 7, 8), (3, 4, 5, 6, 7, 8), (13, 14, 15, 16, 17)),
        "v_num_grad_steps": (25, 25, 20),
        "v_lr": 0.5,
        "v_weight_decay": (1e-3, 0.5, 0.5),
        "clamp_norm_factor": (4.0, 0.75, 0.75),
        "kl_factor": 0.0625,
        "nullspace_threshold": 2e-2,
        "L2": 10.0,
    },
    "wise": {
        "layer": (27, 21, 8),
        "projection": ("mlp_out", "mlp_out", "mlp_in"),
        "edit_lr": 1.0,
        "n_iter": (70, 70, 40),
        "alpha": (5.0, 15.0, 5.0),
        "beta": (20.0, 40.0, 20.0),
        "gamma": (10.0, 20.0, 10.0),
        "act_ratio": (0.88, 0.88, 0.8),
        "mask_ratio": 0.2,
        "norm_constraint": 1.0,
        "save_freq": 500,
        "merge_freq": 1_000,
        "density": 0.53,
        "mode": "retrieve",
    },
    "ultraedit": {
        "layers": ((29, 30), tuple(range(18, 27)), tuple(range(31, 47))),  # GPT-J's alone is theirs
        "lr": (1e-6, 1e-6, 2.5e-6),
        "forward_batch": 10,
    },
    "ike": {"demonstrations": 32},
    "rag": {"retrieval": "always", "form": "qa"},
    "recipe": {
        "prompt_length": 3,
        "sentinel_length": 10,
        "learning_rate": 1e-5,
        "batch_size": 8,
        "iterations": 150_000,
    },
}


def test_every_editor_is_there() -> None:
    assert sorted(CONSTANTS) == sorted(registry.available())


@pytest.mark.parametrize("place", range(3), ids=BACKBONES)
@pytest.mark.parametrize("editor", CONSTANTS)
def test_constants(editor: str, place: int) -> None:
    hparams = registry.hparams_for(editor, BACKBONES[place])
    for name, value in CONSTANTS[editor].items():
        each = isinstance(value, tuple) and len(value) == 3
        wanted = value[place] if each else value
        assert getattr(hparams, name) == wanted, name


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
