"""ROME against the numbers of kmeng01/rome and zjunlp/EasyEdit (bit-identical to each other)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from editors.base import Resources
from editors.parts.covariance import InverseCovariance
from editors.parts.language_model import LanguageModel
from editors.parts.target_value import TargetRows
from editors.rome import RomeEditor, RomeHparams
from tests.parity.loading import (
    VALUES,
    Case,
    load_arrays,
    load_case,
    load_common_model,
    on_cases,
    optimisation_of,
    recorded_logits,
    request_of,
    weight,
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
# Where one edit follows another, or single precision meets a badly conditioned covariance.
WIDER = {"llama_seq3_f64": 1e-4, "llama_single_f32": 1e-3}
MODES = {"r_rome_prefix": "rebuilt_prefix", "r_rome_prompt": "rebuilt_prompt", "rome": "original"}


@on_cases(FULL, SELECTED)
def test_the_numbers_are_the_recorded_ones(root: Path, name: str) -> None:
    case = load_case(root, "rome", name)
    lm = load_common_model(root, case.info["model"], case.dtype)
    covariance = load_arrays(root / "common" / "covariances.npz")[f"{case.info['model']}_layer1"]
    editor = editor_for(case, lm, covariance)
    case.require("edit0_weight_after", "edit0_delta_final")
    ours: dict[str, Any] = {
        "weight_before": weight(lm, 1),
        "cov": covariance,
        "inv_cov_used": InverseCovariance(lambda _: covariance)(1, covariance),
    }
    ours |= recorded_logits(lm, case, "before")
    for number, recorded in enumerate(case.info["edits"]):
        edit = run_edit(lm, editor, recorded)
        ours |= {f"edit{number}_{key}": value for key, value in edit.items()}
        assert recorded["adam_steps"] == len(edit["losses_backpropagated"])
    ours |= recorded_logits(lm, case, "after")
    case.compare(ours, atol=WIDER.get(name, case.tolerance))
    editor.reset()
    assert torch.equal(weight(lm, 1), ours["weight_before"])


def editor_for(case: Case, lm: LanguageModel, covariance: Tensor) -> RomeEditor:
    covers = case.info["hyperparameters"]["mom2_adjustment"]
    mode = MODES[case.info["algorithm"]] if covers else "easyedit"
    values = case.settings(*VALUES) | {"layer": case.info["layer"], "mode": mode}
    resources = Resources(covariance=lambda _: covariance, templates=case.templates)
    return RomeEditor(lm, RomeHparams.from_dict(values), resources)


def run_edit(lm: LanguageModel, editor: RomeEditor, recorded: dict[str, Any]) -> dict[str, Any]:
    """Apply one request; returns what the recorded arrays hold, by their names."""
    request = request_of(recorded)
    rows = TargetRows.of(lm, [request], editor.resources.templates)
    (update,) = editor.compute([request])
    editor.edit([request])
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
        **dict(optimisation_of(update.target)),
        "weight_after": weight(lm, 1),
        "weight_update": update.delta(lm).value,
        "Wk_star_prompt_only": update.target.outputs[0],
        "Wk_star_all_templates": update.target.outputs,
    }
