"""ROME against the numbers of kmeng01/rome and zjunlp/EasyEdit (bit-identical to each other)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from editors.base import EditRequest, Resources
from editors.parts.language_model import LanguageModel
from editors.parts.target_value import TargetRows
from editors.rome import InverseCovariance, RomeEditor, RomeHparams
from tests.parity.loading import (
    COMPACT,
    Case,
    full_directory,
    load_arrays,
    load_case,
    load_common_model,
    recorded_logits,
)

FULL = (
    *(
        f"gpt2_{run}_{dtype}"
        for run in (
            "single",
            "seq3",
            "subjectlast",
            "nocov",
            "rrome_prefixkeys",
            "rrome_promptkeys",
        )
        for dtype in ("f32", "f64")
    ),
    "llama_single_f32",
    "llama_single_f64",
    "llama_seq3_f64",
)
SELECTED = (
    "gpt2_seq3_f64",
    "gpt2_rrome_prefixkeys_f64",
    "gpt2_rrome_promptkeys_f64",
    "gpt2_nocov_f64",
    "llama_single_f64",
)
MODES = {"r_rome_prefix": "rebuilt_prefix", "r_rome_prompt": "rebuilt_prompt", "rome": "original"}


@pytest.mark.parametrize("name", SELECTED)
def test_compact(name: str) -> None:
    check(COMPACT, name)


@pytest.mark.parity
@pytest.mark.parametrize("name", FULL)
def test_full(name: str) -> None:
    check(full_directory(), name)


def tolerance(name: str) -> float:
    """GPT-2 1e-9 in float64; LLaMA's norms and softmax compute in float32 even then."""
    if name == "llama_seq3_f64":
        return 1e-4
    if name == "llama_single_f32":
        return 1e-3
    return 1e-9 if name.startswith("gpt2") and name.endswith("f64") else 1e-5


def check(root: Path, name: str) -> None:
    case = load_case(root, "rome", name)
    dtype = torch.float64 if name.endswith("f64") else torch.float32
    lm = load_common_model(root, case.info["model"], dtype)
    covariance = load_arrays(root / "common" / "covariances.npz")[f"{case.info['model']}_layer1"]
    editor = editor_for(case, lm, covariance)
    case.require("edit0_weight_after", "edit0_delta_final")
    ours: dict[str, Any] = {
        "weight_before": weight(lm),
        "cov": covariance,
        "inv_cov_used": InverseCovariance(lambda _: covariance)(1, covariance),
    }
    ours |= recorded_logits(lm, case, "before")
    for number, recorded in enumerate(case.info["edits"]):
        edit = run_edit(lm, editor, recorded)
        ours |= {f"edit{number}_{key}": value for key, value in edit.items()}
        assert recorded["adam_steps"] == len(edit["losses_backpropagated"])
    ours |= recorded_logits(lm, case, "after")
    case.compare(ours, atol=tolerance(name))
    editor.reset()
    assert torch.equal(weight(lm), ours["weight_before"])


def editor_for(case: Case, lm: LanguageModel, covariance: Tensor) -> RomeEditor:
    settings = case.info["hyperparameters"]
    names = ("v_num_grad_steps", "v_lr", "v_weight_decay", "clamp_norm_factor", "kl_factor")
    mode = MODES[case.info["algorithm"]] if settings["mom2_adjustment"] else "easyedit"
    values = {name: settings[name] for name in names}
    return RomeEditor(
        lm,
        RomeHparams.from_dict(values | {"layer": case.info["layer"], "mode": mode}),
        Resources(
            covariance=lambda _: covariance,
            templates=tuple(case.info["context_templates"]),
        ),
    )


def run_edit(lm: LanguageModel, editor: RomeEditor, recorded: dict[str, Any]) -> dict[str, Any]:
    """Apply one request; returns what the recorded arrays hold, by their names."""
    request = EditRequest(
        prompt=recorded["prompt"].format(recorded["subject"]),
        target=recorded["target_new"],
        subject=recorded["subject"],
    )
    rows = TargetRows.of(lm, [request], editor.resources.templates)
    (update,) = editor.compute([request])
    editor.edit([request])
    steps = update.target.steps
    keys = update.keys[:1] if editor.hparams.mode == "rebuilt_prompt" else update.keys
    return {
        "opt_input_ids": rows.batch.input_ids * rows.batch.attention_mask
        + lm.tokenizer.pad_token_id * (1 - rows.batch.attention_mask),
        "opt_attention_mask": rows.batch.attention_mask,
        "target_ids": rows.batch.target_ids[0],
        "lookup_idx": rows.lookups,
        "keys_per_template": keys,
        "k_mean": keys.mean(dim=0),
        "k_star_prompt_only": keys[0],
        "k_star_all_templates": keys,
        "u_unit": update.u,
        "right_vector": update.v,
        "delta_final": update.target.delta,
        "delta_grads": torch.stack([step.gradient for step in steps]),
        "delta_after_adam_before_clamp": torch.stack([step.unclamped for step in steps]),
        "losses_backpropagated": [step.loss for step in steps],
        "weight_after": weight(lm),
        "weight_update": update.delta(lm).value,
        "Wk_star_prompt_only": update.target.outputs[0],
        "Wk_star_all_templates": update.target.outputs,
    }


def weight(lm: LanguageModel) -> Tensor:
    module = lm.module(lm.architecture.mlp_out, 1)
    return module.get_parameter("weight").detach().clone()
