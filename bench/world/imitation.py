"""mini-gptj starts by imitating mini-llama's states.

From noise, at this budget, GPT-J and GPT-2 learn facts, but rarely how to pick an option by its
letter or to weigh two statements: such skills take several steps and pay only when all of them are
there. Told what mini-llama's stream holds behind each attention and each MLP, a model learns each
step by itself (ours; hints between layers are those of FitNets, Romero et al. 2015).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import GPTJForCausalLM, PreTrainedModel

from bench.world.teacher import Teacher, keep_input

STEPS = 1500  # with the term; it has its full weight in the first half, and fades in the second


class Imitation:
    """The distance of the model's states from the teacher's, as a term of its loss.

    States are compared without mean and scale, in units of their own deviation.

    Args:
        model: GPT-J with two blocks for each of the teacher's: the first one starts with the
            teacher's attention, the second one has the place of its MLP. It is changed in place;
            `finish` takes the hooks out.
        teacher: of the same world.

    Raises:
        ValueError: there is no such comparison for the model's architecture or depth.
    """

    def __init__(self, model: PreTrainedModel, teacher: Teacher) -> None:
        wanted = 2 * len(teacher.layers)
        if not isinstance(model, GPTJForCausalLM) or len(model.transformer.h) != wanted:
            raise ValueError(
                f"Only GPT-J of {wanted} blocks imitates a LLaMA of {len(teacher.layers)}, got "
                f"{model.config.model_type} of {model.config.num_hidden_layers}."
            )
        self._teacher = teacher
        self._states: dict[int, Tensor] = {}
        _start(model, teacher)
        norms: list[Any] = [
            *(block.ln_1 for block in model.transformer.h[1:]),
            model.transformer.ln_f,
        ]
        self._hooks = [
            norm.register_forward_pre_hook(keep_input(self._states, place))
            for place, norm in enumerate(norms)
        ]

    def __call__(self, ids: Tensor, step: int) -> Tensor:
        """The term at step `step`, counted from 0, behind the model's forward of ids [B, T]."""
        left = 1 - (step + 1) / STEPS
        if left <= 0:
            return ids.new_zeros((), dtype=torch.float32)
        distances = [
            (_normal(self._states[place]) - _normal(wanted)).pow(2).mean()
            for place, wanted in enumerate(self._teacher.states(ids))
        ]
        return min(1.0, 2 * left) * torch.stack(distances).mean()

    def finish(self) -> None:
        """Take the hooks out of the model."""
        for hook in self._hooks:
            hook.remove()


@torch.no_grad()
def _start(model: Any, teacher: Teacher) -> None:
    """Give the model what the teacher has in a like place."""
    theirs, tokens = teacher.model, teacher.tokens
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    embedding.copy_(theirs.get_input_embeddings().weight[tokens])
    head.copy_(theirs.get_output_embeddings().weight[tokens])
    blocks = model.transformer.h
    for layer, first, second in zip(teacher.layers, blocks[::2], blocks[1::2], strict=True):
        attention = first.attn
        for name in ("q", "k"):
            rotary = getattr(layer.self_attn, f"{name}_proj").weight
            rows = _interleaved(rotary, attention.head_dim)
            getattr(attention, f"{name}_proj").weight.copy_(rows)
        attention.v_proj.weight.copy_(layer.self_attn.v_proj.weight)
        attention.out_proj.weight.copy_(layer.self_attn.o_proj.weight)
        first.ln_1.weight.copy_(layer.input_layernorm.weight)
        second.ln_1.weight.copy_(layer.post_attention_layernorm.weight)
        first.mlp.fc_out.weight.mul_(0.1)  # what the teacher does not have there starts small
        second.attn.out_proj.weight.mul_(0.1)
    model.transformer.ln_f.weight.copy_(theirs.model.norm.weight)


def _interleaved(weight: Tensor, head: int) -> Tensor:
    """Rows of a head from LLaMA's order of rotated pairs (halves) to GPT-J's (neighbours)."""
    order = torch.arange(head).view(2, head // 2).mT.flatten()
    return weight.view(-1, head, weight.shape[1])[:, order].reshape(weight.shape)


def _normal(states: Tensor) -> Tensor:
    return F.layer_norm(states.float(), states.shape[-1:])
