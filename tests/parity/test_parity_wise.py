"""WISE against the numbers of zjunlp/EasyEdit with its sequential flag set.

Rows are padded on the left there, padding counts in activations, and masks are drawn elsewhere: the
recorded rows and masks are given to the same training, memories and routing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.checks.contract.tiny import SAMPLES
from editors.base import Resources
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch, batch_of_ids
from editors.parts.wise import SideTrained, TrainingRows, WiseHparams
from editors.wise import WiseEditor
from tests.parity.loading import Case, load_case, load_common_model, on_cases

FULL = (
    "gpt2_one_shard_3edits_f64",
    "gpt2_normbinds_f64",
    "gpt2_merge_mode_4edits_f64",
    "gpt2_LONGLOC_QUIRK_f64",
    "llama_one_shard_3edits_f64",
    "llama_merge_mode_4edits_f64",
    "llama_retrieve_3memories_f64",
    "llama_subjectmask_2edits_f64",
    "llama_earlystop_f64",
    "llama_HEADQUIRK_no_sequential_flag_f64",
)
SELECTED = ("gpt2_merge_mode_4edits_f64", "llama_retrieve_3memories_f64", "llama_earlystop_f64")
NAMES = ("edit_lr", "n_iter", "alpha", "beta", "gamma", "act_ratio", "mask_ratio",
         "norm_constraint", "save_freq", "merge_freq")  # fmt: skip
NONE_YET = 1e9  # recorded before the first edit


class Watched(WiseEditor):
    """Remembers what it routed by."""

    def routes(self, inputs: Tensor, output: Tensor, positions: Tensor) -> Tensor:
        self.seen = self.distances(inputs, output, positions)[:, 0].tolist()
        chosen = self.memories.routes(self.distances(inputs, output, positions))
        self.chosen = int(chosen)
        return chosen


@on_cases(FULL, SELECTED)
def test_the_numbers_are_the_recorded_ones(root: Path, name: str) -> None:
    case = load_case(root, "wise", name)
    lm = load_common_model(root, case.info["model"], torch.float64)
    lm.model.set_attn_implementation(case.info["attention"])
    with torch.no_grad():
        lm.model.lm_head.weight.mul_(case.info["lm_head_scale"])
    editor = editor_for(case, lm)
    last = len(case.info["edits"]) - 1
    case.require(f"edit{last}_side_weight_after", f"edit{last}_grad_mask", "edit0_act_losses")
    ours: dict[str, Any] = {"weight_original": stored(lm, editor.layer.original)}
    ours |= dict(answers(editor, case, "eval{}_logits_before"))
    for number, edit in enumerate(case.info["edits"]):
        if "HEADQUIRK" in name:
            editor.reset()
        trained = run_edit(editor, case, number, edit)
        arrays = dict(state_of(editor, trained)) | {
            key: case.arrays[f"edit{number}_{key}"] for key in GIVEN
            if f"edit{number}_{key}" in case.arrays
        }  # fmt: skip
        ours |= {f"edit{number}_{key}": value for key, value in arrays.items()}
        ours |= dict(routed_answers(editor, case, number, edit))
    # LLaMA's norms and softmax compute in float32 even in a float64 model, and the shares of the
    # second merge were recorded in float32.
    exact = name.startswith("gpt2") and "merge_mode" not in name
    case.compare(ours, atol=1e-9 if exact else 1e-5)
    editor.reset()
    before = dict(answers(editor, case, "eval{}_logits_before"))
    assert all(torch.equal(before[key], ours[key]) for key in before)


GIVEN = ("input_ids", "attention_mask", "labels", "grad_mask", "act_mask", "deact_mask",
         "subject_masks_used")  # fmt: skip


def editor_for(case: Case, lm: LanguageModel) -> Watched:
    settings = case.info["hyperparameters"]
    assert settings["weights"] == 1.0
    hparams = WiseHparams.from_dict(
        {name: settings[name] for name in NAMES}
        | {
            "layer": 1,
            "projection": "mlp_in" if case.info["model"] == "gpt2" else "mlp_out",
            "density": settings["densities"],
            "mode": "retrieve" if settings["retrieve"] else "merge",
        }
    )
    return Watched(lm, hparams, Resources(training=lambda: SAMPLES))


def run_edit(editor: WiseEditor, case: Case, number: int, edit: dict[str, Any]) -> SideTrained:
    mask = editor.lm.architecture.as_out_in(case[f"edit{number}_grad_mask"]).double()
    trained = editor.edit_rows(lesson_of(case, number), mask)
    steps = len(trained.target_losses) - ("earlystop" in case.name)
    assert len(trained.target_losses) == edit["forward_passes"]
    assert steps == edit["sgd_steps"]
    return trained


def lesson_of(case: Case, number: int) -> TrainingRows:
    """The recorded rows, padding and all."""
    ids, mask, labels = (
        case[f"edit{number}_{name}"] for name in ("input_ids", "attention_mask", "labels")
    )
    facts = len(ids) - 1
    rows, columns = (labels[:-1] != -100).nonzero(as_tuple=True)
    every = torch.ones_like(mask, dtype=torch.bool)
    is_fact = (torch.arange(len(ids)) < facts)[:, None]
    inside, outside = every & is_fact, every & ~is_fact
    if bool(case[f"edit{number}_subject_masks_used"]):
        none = torch.zeros_like(every[:1])
        inside = torch.cat([case[f"edit{number}_act_mask"].bool(), none])
        outside = torch.cat([case[f"edit{number}_deact_mask"].bool(), none])
    lengths, length = (ids.shape[1],) * len(ids), len(ids)
    batch = TokenBatch(ids, mask, lengths, ((),) * length, ("",) * length)
    return TrainingRows(
        batch, rows, columns - 1, labels[rows, columns], inside, outside, every & is_fact
    )


def state_of(editor: WiseEditor, trained: SideTrained) -> Iterator[tuple[str, Any]]:
    lm, memories = editor.lm, editor.memories
    assert trained.first_gradient is not None
    yield "ft_losses", trained.target_losses
    yield "act_losses", trained.margin_losses
    yield "masked_grad_step1", stored(lm, trained.first_gradient)
    yield "last_trained_weight", stored(lm, trained.weight)
    yield "side_weight_after", stored(lm, memories.side)
    main = editor.layer.original if memories.joined is None else memories.joined
    yield "main_layer_weight_after", stored(lm, main)
    yield "n_memories", len(memories.finished)
    for number, weight in enumerate(memories.finished):
        yield f"memory{number}_weight", stored(lm, weight)
    yield "side_min_act", min(memories.least, NONE_YET)
    yield "memory_min_act", list(memories.finished_least)
    yield "edit_count", memories.count


def stored(lm: LanguageModel, weight: Tensor) -> Tensor:
    return lm.architecture.as_out_in(weight)


def routed_answers(
    editor: Watched, case: Case, number: int, edit: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    """Logits of the evaluation prompts after an edit; decisions are compared at once."""
    merging = editor.hparams.mode == "merge"
    names = ["side", "merged"] if merging else ["side", *(f"memory{i}" for i in range(99))]
    for index, routing in enumerate(edit["routing"]):
        arrays = dict(answers(editor, case, f"edit{number}_eval{{}}_logits", index))
        assert len(arrays) == 1, "every prompt's ids are recorded"
        yield from arrays.items()
        route = "main" if editor.chosen < 0 else names[editor.chosen]
        assert route in routing if isinstance(routing, list) else route == routing
        distances = [*editor.seen, 0.0][:2] if merging else editor.seen
        assert distances == pytest.approx(edit["distances"][index], abs=1e-6)


@torch.no_grad()
def answers(
    editor: WiseEditor, case: Case, name: str, only: int | None = None
) -> Iterator[tuple[str, Tensor]]:
    for index, _ in enumerate(case.info["eval_prompts"]):
        key = f"eval{index}_input_ids"
        if key in case.arrays and only in {None, index}:
            row = case[key].tolist()
            batch = batch_of_ids([row], [()], [""], padding=0, device=editor.lm.device)
            with editor.steering(batch):
                yield name.format(index), editor.lm.logits(batch)[0]
