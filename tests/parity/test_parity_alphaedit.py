"""AlphaEdit against the numbers of jianghoucheng/AlphaEdit, which forms P and M and solves densely.

Ours solves the same on projected keys. P is compared as a matrix: its basis may be rotated.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from editors.alphaedit import AlphaEditEditor, AlphaEditHparams
from editors.base import Resources
from editors.memit import LayerInsertion
from editors.parts.language_model import LanguageModel
from tests.parity.loading import (
    VALUES,
    Case,
    load_case,
    load_common_model,
    on_cases,
    optimisation_of,
    recorded_logits,
    request_of,
    weight,
)
from tests.parity.test_parity_memit import rows_of

FULL = (
    "gpt2_seq3_f64",
    "gpt2_batch3_f64",
    "gpt2_seq3_threshold002_f64",
    "llama_seq3_f64",
    "llama_batch3_f64",
)
SELECTED = ("gpt2_seq3_f64", "llama_batch3_f64")


@on_cases(FULL, SELECTED)
def test_the_numbers_are_the_recorded_ones(root: Path, name: str) -> None:
    case = load_case(root, "alphaedit", name)
    lm = load_common_model(root, case.info["model"], torch.float64)
    editor = editor_for(case, lm)
    last = len(case.info["batches"]) - 1
    case.require(*(f"batch{last}_layer{n}_weight_after" for n in editor.layers), "batch0_z")
    before = {n: weight(lm, n) for n in editor.layers}
    ours = {f"layer{n}_weight_before": w for n, w in before.items()} | dict(spaces_of(editor, case))
    ours |= recorded_logits(lm, case, "before")
    caches = {n: torch.zeros_like(case[f"layer{n}_cov"]).double() for n in editor.layers}
    for number, recorded in enumerate(case.info["batches"]):
        actual = dict(run_batch(editor, recorded, caches))
        ours |= {f"batch{number}_{key}": value for key, value in actual.items()}
        ours |= recorded_logits(lm, case, f"after_batch{number}")
    # LLaMA's norms and softmax compute in float32 even in a float64 model.
    case.compare(ours, atol=1e-10 if name.startswith("gpt2") else 1e-5)
    editor.reset()
    assert all(torch.equal(weight(lm, n), w) for n, w in before.items())


def editor_for(case: Case, lm: LanguageModel) -> AlphaEditEditor:
    values = case.settings(*VALUES, "nullspace_threshold", "L2")
    hparams = AlphaEditHparams.from_dict(values | {"layers": case.info["layers"]})
    resources = Resources(
        covariance=lambda layer: case[f"layer{layer}_cov"], templates=case.templates
    )
    return AlphaEditEditor(lm, hparams, resources)


def spaces_of(editor: AlphaEditEditor, case: Case) -> Iterator[tuple[str, Any]]:
    for layer, space in editor.spaces.items():
        moment = case[f"layer{layer}_cov"]
        yield f"layer{layer}_cov", moment
        yield f"layer{layer}_null_dim", space.rank
        yield f"layer{layer}_projection", space.project(torch.eye(len(moment)))


def run_batch(
    editor: AlphaEditEditor, recorded: list[dict[str, Any]], caches: dict[int, Tensor]
) -> Iterator[tuple[str, Any]]:
    """Apply the requests of one call; yields what the recorded arrays hold, by their names."""
    requests = [request_of(row) for row in recorded]
    update = editor.compute(requests)
    editor.edit(requests)
    yield "z", update.z
    for number, (row, request) in enumerate(zip(recorded, requests, strict=True)):
        target = update.targets[number]
        assert len(target.steps) == row["adam_steps"]
        for key, value in (*rows_of(editor, request), *optimisation_of(target)):
            yield f"req{number}_{key}", value
    for insertion in update.insertions:
        caches[insertion.layer] += insertion.keys.T @ insertion.keys
        for key, value in insertion_of(editor.lm, insertion):
            yield f"layer{insertion.layer}_{key}", value
        yield f"layer{insertion.layer}_cache_after", caches[insertion.layer].clone()


def insertion_of(lm: LanguageModel, insertion: LayerInsertion) -> Iterator[tuple[str, Any]]:
    yield "keys", insertion.keys
    yield "keys_for_cache", insertion.keys  # a layer's keys depend on the layers below alone
    yield "z_current", insertion.current
    yield "resid", insertion.residual
    yield "solution", insertion.adjusted @ insertion.residual.T
    yield "weight_update", insertion.delta(lm).value
    yield "weight_after", weight(lm, insertion.layer)
