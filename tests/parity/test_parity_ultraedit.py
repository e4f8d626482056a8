"""UltraEdit against the numbers of XiaojieGu/UltraEdit, whose statistics start from nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from editors.base import Resources
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch
from editors.ultraedit import UltraEditEditor, UltraEditHparams
from tests.parity.loading import (
    Case,
    load_case,
    load_common_model,
    on_cases,
    recorded_logits,
    request_of,
)

FULL = (
    "gpt2_1turn_f64",
    "gpt2_3turns_f64",
    "gpt2_3turns_one_edit_each_f64",
    "llama_down_3turns_f64",
    "llama_gateup_3turns_f64",
)
SELECTED = ("gpt2_3turns_f64", "llama_gateup_3turns_f64")
LAYERS = {"c_proj": "layers", "down_proj": "layers", "gate_proj": "gate_layers"}


@on_cases(FULL, SELECTED)
def test_the_numbers_are_the_recorded_ones(root: Path, name: str) -> None:
    case = load_case(root, "ultraedit", name)
    lm = load_common_model(root, case.info["model"], torch.float64)
    editor = UltraEditEditor(lm, hparams_of(case), Resources())
    paths = [projection.path for projection in editor.projections]
    assert sorted(paths) == sorted(case.info["edit_modules"])
    last = len(case.info["turns"]) - 1
    case.require(*(f"turn{last}_{path}|weight_after" for path in paths))
    before = {path: weight(lm, path) for path in paths}
    ours: dict[str, Any] = {f"{path}|weight_before": w for path, w in before.items()}
    ours |= recorded_logits(lm, case, "before")
    for number, turn in enumerate(case.info["turns"]):
        ours |= {f"turn{number}_{key}": value for key, value in run_turn(editor, turn)}
        ours |= recorded_logits(lm, case, f"after_turn{number}")
    # LLaMA's norms and softmax compute in float32 even in a float64 model.
    case.compare(ours, atol=1e-10 if name.startswith("gpt2") else 1e-6)
    editor.reset()
    assert all(torch.equal(weight(lm, path), w) for path, w in before.items())
    assert all(float(single.count) == 0 for single in editor.normalisers.values())


def hparams_of(case: Case) -> UltraEditHparams:
    settings = case.info["hyperparameters"]
    blocks: dict[str, list[int]] = {"layers": [], "gate_layers": [], "up_layers": []}
    for path in case.info["edit_modules"]:
        *_, layer, _, module = path.split(".")
        blocks[LAYERS.get(module, "up_layers")].append(int(layer))
    given = {"lr": settings["lr"], "forward_batch": settings["forward_batch_size"], "warm_up": 0}
    return UltraEditHparams.from_dict(blocks | given)


def run_turn(editor: UltraEditEditor, turn: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    requests = [request_of(row) for row in turn["requests"]]
    rows = list(editor.batches(requests))
    assert len(rows) == turn["n_minibatches"]
    before = {
        projection.path: weight(editor.lm, projection.path) for projection in editor.projections
    }
    features = editor.features(requests)
    editor.edit(requests)
    for number, part in enumerate(rows):
        batch = editor.lm.batch_of_pairs(part)
        yield f"batch{number}_input_ids", batch.input_ids * batch.attention_mask
        yield f"batch{number}_attention_mask", batch.attention_mask
        yield f"batch{number}_labels", labels_of(batch)
        for path, actual in features.items():
            yield f"batch{number}_{path}|keys", actual[number].keys
            yield f"batch{number}_{path}|output_grads", actual[number].gradients
    for shape, single in editor.normalisers.items():
        name = f"normaliser({shape.replace('x', ',')})"
        for key, value in (("n", single.count), ("mean", single.mean), ("var", single.squares)):
            yield f"{name}|{key}", value.clone()
        yield f"{name}|std", single.deviation
    for path, old in before.items():
        change = weight(editor.lm, path) - old
        yield f"{path}|shift_in_by_out", editor.lm.architecture.as_out_in(change).mT
        yield f"{path}|weight_after", weight(editor.lm, path)


def labels_of(batch: TokenBatch) -> Any:
    labels = np.full(batch.input_ids.shape, -100)
    rows, columns = batch.scored_positions
    labels[rows, columns] = batch.labels
    return labels


def weight(lm: LanguageModel, path: str) -> Any:
    return lm.module(path).get_parameter("weight").detach().clone()
