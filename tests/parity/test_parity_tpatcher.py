"""T-Patcher against the numbers of qizhou000/UniEdit and ZeroYuHuang/Transformer-Patcher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from editors.base import Resources
from editors.parts.language_model import LanguageModel
from editors.parts.t_patcher import (
    LastBlock,
    Neurons,
    OriginalPatch,
    OriginalTraining,
    activation_loss,
    error_columns,
    initial_patch,
    memory_loss,
    mlp_inputs,
    original_terms,
)
from editors.parts.tokens import TokenBatch, batch_of_ids
from editors.t_patcher import TPatcherEditor, TPatcherHparams, TrainedNeurons, decoder_loss
from tests.parity.loading import Case, load_arrays, load_case, on_cases, recorded_model

DECODER = ("decoder_variant_gpt2", "decoder_variant_llama")
WEIGHTS = "weights/"
LAYER = 2
RTOL, ATOL = 1e-5, 1e-6


class Recorded(TPatcherEditor):
    """T-Patcher that draws what the recorded run drew."""

    texts: Sequence[Tensor] = ()
    draw: Tensor
    recorded_memory: Tensor

    def memory_texts(self) -> list[Tensor]:
        return list(self.texts)

    def initial_values(self, count: int) -> Tensor:
        assert self.draw.shape[0] == count
        return self.draw

    @property
    def memory_rows(self) -> tuple[Tensor, Tensor]:
        return self.recorded_memory, self.recorded_memory


@on_cases(["loss_units"], ["loss_units"])
def test_loss_shapes(root: Path, name: str) -> None:
    recorded = load_arrays(root / "tpatcher" / f"{name}.npz")
    own, memory = recorded.pop("act_val"), recorded.pop("his")
    assert recorded.pop("his_stacked_shape").tolist() == [len(memory), *own.shape]
    assert len(recorded) == 18
    for key, loss in recorded.items():
        kind, shape, margins = key.split("/")
        if kind == "act_loss":
            ours = activation_loss(own, shape=shape, margin=float(margins[1:]))
        else:
            first, second = shape.split("+")
            m1, m2 = (float(margin.partition("=")[2]) for margin in margins.split("_"))
            ours = memory_loss(memory, own, shapes=(first, second), margins=(m1, m2))
        torch.testing.assert_close(ours, loss, rtol=RTOL, atol=ATOL, msg=key)


@on_cases(DECODER, DECODER[1:])
def test_the_variant_for_decoders(root: Path, name: str) -> None:
    case = load_case(root, "tpatcher", name)
    editor = editor_of(root, case, decoder_hparams(case))
    lines = case.info["locality_token_ids"]
    choices = np.random.default_rng(0)  # one stream over both edits, as recorded
    ours = case.held(WEIGHTS) | logits(editor, case, "logits_pre")
    for number, recorded in enumerate(case.info["edits"]):
        chosen = choices.integers(len(lines), size=editor.hparams.num_steps).tolist()
        editor.texts = [memory_of(editor.lm, lines[line]) for line in chosen]
        row = row_of(recorded)
        arrays = first_gradients(editor, row) | {"locality_choice": chosen}
        trained = editor.edit_row(row)
        assert isinstance(trained, TrainedNeurons)
        arrays |= {"total_losses": trained.losses} | named_weights(editor)
        arrays |= logits(editor, case, "logits")
        ours |= {f"edit{number}/{key}": value for key, value in arrays.items()}
    case.compare(ours, rtol=lambda _: RTOL, atol=ATOL)


@on_cases(["original_gptj"], [])
def test_the_published_method(root: Path, name: str) -> None:
    case = load_case(root, "tpatcher", name)
    editor = editor_of(root, case, original_hparams(case))
    editor.recorded_memory = torch.cat(
        [memory_of(editor.lm, ids) for ids in case.info["memory_prompts"]]
    )
    ours = case.held(WEIGHTS) | {"memory_initial": editor.recorded_memory}
    ours |= logits(editor, case, "logits_pre")
    for number, recorded in enumerate(case.info["edits"]):
        editor.draw = case[f"edit{number}/value_init"].T
        row = row_of(recorded)
        arrays: dict[str, Any] = dict(first_step(editor, row, recorded["error_positions_in_input"]))
        trained = editor.edit_row(row)
        assert isinstance(trained, OriginalTraining)
        arrays |= {"loss_e_a_m_total_gradnorm": trained.steps} | parts(trained.patch, "{}_final")
        width = len(case[f"{WEIGHTS}transformer.h.{LAYER}.mlp.fc_in.weight"])
        arrays |= {"ffn_sizes": [width + len(editor.store)] * 2}
        arrays |= {"memory_size": len(editor.recorded_memory) + len(editor._own_memory)}
        arrays |= logits(editor, case, "logits")
        ours |= {f"edit{number}/{key}": value for key, value in arrays.items()}
    # Its first gradients are sums of terms in the hundreds, of which little is left: one unit in
    # the last place of these is more than 1e-6.
    case.compare(ours, rtol=lambda _: RTOL, atol=1e-5)


def first_gradients(editor: Recorded, row: TokenBatch) -> dict[str, Tensor]:
    """Gradients of the decoder loss at a neuron of zeros, by their recorded names."""
    block = block_of(editor, row)
    neuron = Neurons.zeros(1, editor.store.neurons.keys.shape[1], 32, block.inputs)
    for part in vars(neuron).values():
        part.requires_grad_()
    weights = (editor.hparams.activation_weight, editor.hparams.memory_weight)
    loss = decoder_loss(block, neuron, editor.texts[0], activation=weights[0], silence=weights[1])
    gradients = Neurons(*torch.autograd.grad(loss, [*vars(neuron).values()]))
    named = neuron_arrays(editor.lm, gradients)
    return {f"step0_grad_{name}": value for name, value in named.items()}


def first_step(editor: Recorded, row: TokenBatch, errors: list[int]) -> dict[str, Tensor]:
    """The original's initial values and their gradients."""
    block = block_of(editor, row)
    columns = error_columns(block)
    assert columns.tolist() == errors
    patch = initial_patch(block, columns, editor.draw)
    leaves = OriginalPatch(*(part.clone().requires_grad_() for part in vars(patch).values()))
    memory = torch.cat([editor.recorded_memory, editor._own_memory])
    total = original_terms(block, leaves, columns, memory).total(
        activation=editor.hparams.activation_weight, memory=editor.hparams.memory_weight
    )
    gradients = torch.autograd.grad(total, [*vars(leaves).values()])
    return parts(patch, "{}_init") | parts(OriginalPatch(*gradients), "step0_grad_{}")


def parts(patch: OriginalPatch, name: str) -> dict[str, Tensor]:
    """A patch by its recorded names, values [d, n]."""
    return {
        name.format("key"): patch.keys,
        name.format("key_bias"): patch.biases,
        name.format("value"): patch.values.T,
        name.format("amplify"): patch.amplify.T,
    }


def block_of(editor: Recorded, row: TokenBatch) -> LastBlock:
    with editor.steering(row):
        return LastBlock.of(editor.lm, row, dtype=torch.float32)


def named_weights(editor: Recorded) -> dict[str, Tensor]:
    """All neurons by their recorded names, the newest first."""
    stored = editor.store.neurons
    turned = Neurons(*(part.flip(0) for part in vars(stored).values()))
    return neuron_arrays(editor.lm, turned)


def neuron_arrays(lm: LanguageModel, neurons: Neurons) -> dict[str, Tensor]:
    row = lm.architecture
    named = {f"out_w/{row.mlp_out.format(LAYER)}": neurons.values}
    for number, path in enumerate(row.mlp_in):
        named[f"in_w/{path.format(LAYER)}"] = neurons.keys[:, number].T
        named[f"in_b/{path.format(LAYER)}"] = neurons.biases[:, number]
    return named


@torch.no_grad()
def logits(editor: Recorded, case: Case, name: str) -> dict[str, Tensor]:
    """Logits of the evaluation prompts at all positions."""
    arrays = {}
    for number, ids in enumerate(case.info["eval_prompts"]):
        row = batch_of_ids([ids], [[]], [""], padding=0, device=editor.lm.device)
        with editor.steering(row):
            arrays[f"{name}/{number}"] = editor.lm.logits(row)[0]
    return arrays


def row_of(recorded: Mapping[str, Any]) -> TokenBatch:
    prompt, target = recorded["prompt_ids"], recorded["target_ids"]
    return batch_of_ids([prompt], [target], [""], padding=0, device=torch.device("cpu"))


def memory_of(lm: LanguageModel, ids: list[int]) -> Tensor:
    row = batch_of_ids([ids], [[]], [""], padding=0, device=lm.device)
    return mlp_inputs(lm, row, dtype=torch.float32)


def decoder_hparams(case: Case) -> TPatcherHparams:
    settings = case.info["hparams"]
    assert settings["edit_layer"] == LAYER
    return TPatcherHparams(
        num_steps=settings["num_steps"],
        lr=settings["lr"],
        weight_decay=settings["weight_decay"],
        activation_weight=settings["loss_a_lambda"],
        memory_weight=settings["loss_m_lambda"],
    )


def original_hparams(case: Case) -> TPatcherHparams:
    return TPatcherHparams(
        mode="original",
        num_steps=case.info["steps"],
        lr=case.info["lr"],
        weight_decay=case.info["weight_decay"],
        activation_weight=case.info["alpha_act"],
        memory_weight=case.info["beta_mem"],
    )


def editor_of(root: Path, case: Case, hparams: TPatcherHparams) -> Recorded:
    editor = Recorded(recorded_model(root, case), hparams, Resources(corpus=lambda: ["word " * 30]))
    assert [field.name for field in fields(Neurons)] == ["keys", "biases", "values"]
    return editor
