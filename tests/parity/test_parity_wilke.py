"""WILKE against the numbers of ChenhuiHu/WilKE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from editors.base import Resources
from editors.parts.language_model import LanguageModel
from editors.wilke import WilkeEditor, WilkeHparams
from tests.parity.loading import (
    VALUES,
    Case,
    load_arrays,
    load_case,
    load_common_model,
    on_cases,
    recorded_logits,
    request_of,
    weight,
)

CASES = ("gpt2_seq3_f64",)


@on_cases(CASES, CASES)
def test_the_numbers_are_the_recorded_ones(root: Path, name: str) -> None:
    case = load_case(root, "wilke", name)
    lm = load_common_model(root, case.info["model"], torch.float64)
    moments = load_arrays(root / "common" / "covariances.npz")
    # The compact selection lacks the last layer's, which lies above the ceiling.
    covariances = {n: moments[f"gpt2_layer{n}"] for n in range(3) if f"gpt2_layer{n}" in moments}
    editor = editor_for(case, lm, covariances)
    case.require("edit2_layer0_weight_after", "edit2_layer1_weight_after", "edit2_chosen_layer")
    before = {f"layer{n}_weight_before": weight(lm, n) for n in range(lm.n_layers)}
    ours: dict[str, Any] = before | {f"layer{n}_cov": c for n, c in covariances.items()}
    ours |= recorded_logits(lm, case, "before")
    for number, recorded in enumerate(case.info["edits"]):
        edit = run_edit(editor, recorded)
        ours |= {f"edit{number}_{key}": value for key, value in edit.items()}
        assert edit["chosen_layer"] == recorded["chosen_layer"]
    ours |= recorded_logits(lm, case, "after")
    case.compare(ours, atol=1e-9)
    editor.reset()
    assert all(torch.equal(weight(lm, n), before[f"layer{n}_weight_before"]) for n in range(3))


def editor_for(case: Case, lm: LanguageModel, covariances: dict[int, Tensor]) -> WilkeEditor:
    ceiling = {"scanning_ceiling": case.info["scanning_ceiling"]}
    hparams = WilkeHparams.from_dict(case.settings(*VALUES) | ceiling)
    resources = Resources(covariance=covariances.__getitem__, templates=case.templates)
    return WilkeEditor(lm, hparams, resources)


def run_edit(editor: WilkeEditor, recorded: dict[str, Any]) -> dict[str, Any]:
    """Apply one request; returns what the recorded arrays hold, by their names."""
    request = request_of(recorded)
    lm, candidates = editor.lm, editor.scan(request)
    before = [weight(lm, n) for n in range(lm.n_layers)]
    editor.edit([request])
    after = [weight(lm, n) for n in range(lm.n_layers)]
    changed = [n for n in range(lm.n_layers) if not torch.equal(before[n], after[n])]
    assert len(changed) == 1
    actual: dict[str, Any] = {
        f"candidate_update_layer{c.update.layer}": c.update.delta(lm).value for c in candidates
    }
    actual |= {f"layer{n}_weight_after": value for n, value in enumerate(after)}
    scores = [candidate.score for candidate in candidates]
    return actual | {"layer_scores": scores, "chosen_layer": changed[0]}
