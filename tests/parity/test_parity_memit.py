"""MEMIT against the numbers of zjunlp/EasyEdit (kmeng01/memit agrees but for a float32 cast)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from editors.base import EditRequest, Resources
from editors.memit import LayerInsertion, MassEditor, MemitEditor, MemitHparams, Solver
from editors.parts.language_model import LanguageModel
from editors.parts.target_value import TargetRows
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
        for run in ("single", "batch3", "batch3_lambda15000")
        for dtype in ("f32", "f64")
    ),
    "gpt2_seq3_f64",
    "llama_batch3_f32",
    "llama_batch3_f64",
)
SELECTED = ("gpt2_seq3_f64", "llama_batch3_f64")


@pytest.mark.parametrize("solver", ["cached", "direct"])
@on_cases(FULL, SELECTED)
def test_the_numbers_are_the_recorded_ones(root: Path, name: str, solver: Solver) -> None:
    case = load_case(root, "memit", name)
    lm = load_common_model(root, case.info["model"], case.dtype)
    moments = load_arrays(root / "common" / "covariances.npz")
    covariances = {n: moments[f"{case.info['model']}_layer{n}"] for n in case.info["layers"]}
    editor = editor_for(case, lm, covariances, solver)
    last = len(case.info["batches"]) - 1
    case.require(*(f"batch{last}_layer{n}_weight_after" for n in covariances), "batch0_z")
    before = {f"layer{n}_weight_before": weight(lm, n) for n in covariances}
    ours: dict[str, Any] = before | {f"layer{n}_cov": c for n, c in covariances.items()}
    ours |= recorded_logits(lm, case, "before")
    for number, recorded in enumerate(case.info["batches"]):
        batch = run_batch(editor, recorded)
        ours |= {f"batch{number}_{key}": value for key, value in batch.items()}
    ours |= recorded_logits(lm, case, "after")
    case.compare(ours, atol=case.tolerance)
    editor.reset()
    assert all(torch.equal(weight(lm, n), before[f"layer{n}_weight_before"]) for n in covariances)


def editor_for(
    case: Case, lm: LanguageModel, covariances: dict[int, Tensor], solver: Solver
) -> MemitEditor:
    values = case.settings(*VALUES, "mom2_update_weight")
    hparams = MemitHparams.from_dict(values | {"layers": case.info["layers"], "solver": solver})
    resources = Resources(covariance=covariances.__getitem__, templates=case.templates)
    return MemitEditor(lm, hparams, resources)


def run_batch(editor: MemitEditor, recorded: list[dict[str, Any]]) -> dict[str, Any]:
    """Apply the requests of one call; returns what the recorded arrays hold, by their names."""
    requests = [request_of(row) for row in recorded]
    update = editor.compute(requests)
    editor.edit(requests)
    actual: dict[str, Any] = {"z": update.z}
    for number, (row, request) in enumerate(zip(recorded, requests, strict=True)):
        target = update.targets[number]
        assert len(target.steps) == row["adam_steps"]
        arrays = [*rows_of(editor, request), *optimisation_of(target)]
        actual |= {f"req{number}_{key}": value for key, value in arrays}
    for insertion in update.insertions:
        arrays = [*insertion_of(editor.lm, insertion)]
        actual |= {f"layer{insertion.layer}_{key}": value for key, value in arrays}
    return actual


def rows_of(editor: MassEditor[Any], request: EditRequest) -> Iterator[tuple[str, Any]]:
    rows = TargetRows.of(editor.lm, [request], editor.resources.templates)
    mask = rows.batch.attention_mask
    padding = int(editor.lm.tokenizer.pad_token_id)
    yield "opt_input_ids", torch.where(mask == 1, rows.batch.input_ids, padding)
    yield "opt_attention_mask", mask
    yield "target_ids", rows.batch.target_ids[0]
    yield "lookup_idx", rows.lookups


def insertion_of(lm: LanguageModel, insertion: LayerInsertion) -> Iterator[tuple[str, Any]]:
    yield "keys", insertion.keys
    yield "z_current", insertion.current
    yield "adj_k", insertion.adjusted
    yield "resid", insertion.residual
    yield "weight_update", insertion.delta(lm).value
    yield "weight_after", weight(lm, insertion.layer)
