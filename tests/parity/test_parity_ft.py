"""FT against the numbers of zjunlp/EasyEdit.

Rows are fed as recorded: EasyEdit pads on the left and indexes the last prompt token as if padding
were on the right, and teaches LLaMA's BOS; both are reproduced through the stored ids.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from editors.base import Resources
from editors.ft import FtEditor, FtHparams, Lesson
from editors.parts.language_model import parameter_names
from editors.parts.tokens import TokenBatch
from tests.parity.loading import (
    Case,
    load_case,
    load_common_model,
    on_cases,
    recorded_logits,
    request_of,
)

RUNS = (
    "gpt2_promptlast_batch3_leftpad_QUIRK",
    "gpt2_promptlast_constrained",
    "gpt2_promptlast_unconstrained",
    "gpt2_targetnew_batch3_leftpad",
    "gpt2_targetnew_unconstrained",
    "llama_promptlast_unconstrained_BOSQUIRK",
    "llama_targetnew_unconstrained",
)
FULL = tuple(f"{run}_{dtype}" for run in RUNS for dtype in ("f32", "f64"))
SELECTED = (
    "gpt2_promptlast_constrained_f64",
    "gpt2_targetnew_batch3_leftpad_f64",
    "llama_promptlast_unconstrained_BOSQUIRK_f64",
)


@on_cases(FULL, SELECTED)
def test_the_numbers_are_the_recorded_ones(root: Path, name: str) -> None:
    case = load_case(root, "ft", name)
    lm = load_common_model(root, case.info["model"], case.dtype)
    editor = FtEditor(lm, hparams_of(case), Resources())
    names = tuple(case.info["trained_parameters"])
    assert parameters(editor) == names
    before = values(editor)
    ours: dict[str, Any] = {f"before|{key}": value for key, value in before.items()}
    ours |= recorded_logits(lm, case, "before")
    for number, call in enumerate(case.info["calls"]):
        lesson = recorded_lesson(case, number, editor.hparams)
        tuned = editor.edit_lessons([lesson])
        assert len(tuned.losses) == call["n_forward_batches"]
        ours[f"call{number}_batch_losses"] = tuned.losses
        ours |= {f"call{number}_after|{key}": value for key, value in values(editor).items()}
    ours |= recorded_logits(lm, case, "after")
    recorded_rows = {key: case.arrays[key] for key in case.arrays if "_chunk" in key}
    case.compare(ours | recorded_rows, atol=case.tolerance)
    check_requests(case, editor)
    editor.reset()
    assert all(torch.equal(value, before[key]) for key, value in values(editor).items())


def check_requests(case: Case, editor: FtEditor) -> None:
    """Where the recorded rows hold no padding, requests in words give the same weights."""
    (call,) = case.info["calls"]
    if len(call["requests"]) > 1:
        return
    written = values(editor)
    editor.reset()
    editor.edit([request_of(row) for row in call["requests"]])
    for key, value in values(editor).items():
        torch.testing.assert_close(value, written[key], rtol=0, atol=case.tolerance)


def hparams_of(case: Case) -> FtHparams:
    settings = case.info["hyperparameters"]
    objective = settings["objective_optimization"]
    if "BOSQUIRK" in case.name:
        objective = "bos_label"
    constraint = settings["norm_constraint"] or None
    values = case.settings("num_steps", "lr", "weight_decay", "batch_size")
    return FtHparams(layer=1, objective=objective, norm_constraint=constraint, **values)


def recorded_lesson(case: Case, call: int, hparams: FtHparams) -> Lesson:
    """The left-padded rows as recorded, and the columns at which EasyEdit reads them."""
    stem = f"call{call}_chunk0_"
    prompts = case[stem + "prompt_mask"].sum(dim=1)
    if hparams.objective != "target_new":
        targets = [row[row != case.info["pad_token_id"]] for row in case[stem + "target_ids"]]
        return Lesson.of(batch_of(case, stem + "prompt", prompts, targets), hparams.objective)
    starts = (case[stem + "concat_mask"] == 0).sum(dim=1) + prompts
    rows = zip(case[stem + "concat_ids"], starts, strict=True)
    targets = [row[start:] for row, start in rows]
    return Lesson.of(batch_of(case, stem + "concat", starts, targets), "target_new")


def batch_of(case: Case, stem: str, lengths: Tensor, targets: list[Tensor]) -> TokenBatch:
    """A batch whose prompts count as `lengths` long, whatever padding stands in them."""
    return TokenBatch(
        input_ids=case[stem + "_ids"],
        attention_mask=case[stem + "_mask"],
        prompt_lengths=tuple(lengths.tolist()),
        target_ids=tuple(tuple(target.tolist()) for target in targets),
        texts=("",) * len(targets),
    )


def values(editor: FtEditor) -> dict[str, Tensor]:
    model = editor.lm.model
    return {name: model.get_parameter(name).detach().clone() for name in parameters(editor)}


def parameters(editor: FtEditor) -> tuple[str, ...]:
    """Names of what is trained."""
    lm = editor.lm
    return parameter_names(lm, lm.architecture.mlp_out.format(editor.layer))
