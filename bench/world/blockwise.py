"""mini-gpt2 starts with blocks that were taught one by one what mini-llama's do.

Positions that are added to the stream are a poor start for heads that look a few tokens back, and
hints alone (see `imitation`) take long where every block waits for the one in front of it. Here
each attention and each MLP reads mini-llama's own stream and is told what mini-llama adds to it, so
that all learn at once (ours).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GPT2LMHeadModel, PreTrainedModel

from bench.world.pretrain import weighted_loss
from bench.world.teacher import Teacher

QUICK = 6  # pairs of a head that turn by more than a radian over thirty tokens
POSITION_SIZE = 0.5  # root mean square of a position, between those of embeddings and later states
LOSS_WEIGHT = 0.3  # of the loss on the tokens, against the sum over half blocks


class Blockwise:
    """The loss of blocks that read the teacher's stream.

    The first dimensions of the model's stream hold what the teacher's holds, the others positions,
    which no block may change. The last MLP is told by the tokens: the head is the embedding, and
    the teacher's is not.

    Args:
        model: GPT-2 with as many blocks as the teacher, wider by an even number; its weights are
            replaced by a start from the teacher's.
        teacher: of the same world.

    Raises:
        ValueError: model of another architecture, depth or width.
    """

    def __init__(self, model: PreTrainedModel, teacher: Teacher) -> None:
        depth, width = len(teacher.layers), teacher.width
        fits = isinstance(model, GPT2LMHeadModel) and len(model.transformer.h) == depth
        if not fits or model.config.hidden_size <= width:
            raise ValueError(
                f"Only GPT-2 of {depth} blocks that is wider than {width} learns by blocks, got "
                f"{model.config.model_type} of {model.config.num_hidden_layers} blocks, width "
                f"{model.config.hidden_size}."
            )
        self._teacher = teacher
        _start(model, teacher)

    def loss(self, model: Any, batch: tuple[Tensor, ...]) -> Tensor:
        """Sum of the distances of half blocks, and the loss on the tokens behind the last one.

        Args:
            model: as in the constructor.
            batch: ids and loss weights [B, T], position of each row's first token [B, 1].
        """
        ids, weights, starts = batch
        parts, width = model.transformer, self._teacher.width
        places = parts.wpe(starts + torch.arange(ids.shape[1], device=ids.device))
        streams = [
            torch.cat([state, places[..., width:]], -1) for state in self._teacher.states(ids)
        ]
        inputs = [parts.wte(ids) + places, *streams[:-1]]
        distances = []
        for i, block in enumerate(parts.h):
            read, between, after = inputs[2 * i], inputs[2 * i + 1], streams[2 * i + 1]
            distances.append(self._distance(block.attn(block.ln_1(read))[0], read, between))
            added = block.mlp(block.ln_2(between))
            if i + 1 < len(parts.h):
                distances.append(self._distance(added, between, after))
        hidden = parts.ln_f(between + added)
        return (
            LOSS_WEIGHT * weighted_loss(model, hidden, ids, weights) + torch.stack(distances).sum()
        )

    def _distance(self, added: Tensor, read: Tensor, wanted: Tensor) -> Tensor:
        """Mean square, in units of the wanted state's deviation and of a position's size."""
        width = self._teacher.width
        error = (added[..., :width] - (wanted - read)[..., :width]) / wanted[..., :width].std()
        return error.pow(2).mean() + (added[..., width:] / POSITION_SIZE).pow(2).mean()


@torch.no_grad()
def _start(model: Any, teacher: Teacher) -> None:
    """Content in the first dimensions as the teacher has it, positions in the others as waves.

    A rotated pair of a head turns too slowly to tell neighbours apart, and is copied; or it is
    quick, and reads the wave of its own rate, turned as the pair's mean content is: that is what
    the head would do if only distance mattered.
    """
    width, places = teacher.width, model.transformer.wpe.weight
    embedding = model.transformer.wte.weight
    embedding.zero_()
    embedding[:, :width] = teacher.model.get_input_embeddings().weight[teacher.tokens]
    rates = teacher.model.model.rotary_emb.inv_freq[: (places.shape[1] - width) // 2]
    angles = torch.arange(len(places))[:, None] * rates
    places.zero_()
    places[:, width:] = (
        math.sqrt(2) * POSITION_SIZE * torch.stack([angles.cos(), angles.sin()], -1).flatten(1)
    )
    for layer, block, (mean, rms) in zip(
        teacher.layers, model.transformer.h, _mean_inputs(teacher), strict=True
    ):
        squares = width * rms**2 + (places.shape[1] - width) * POSITION_SIZE**2
        norm = math.sqrt(squares / places.shape[1])  # what `ln_1` divides by
        _start_heads(block.attn.c_attn.weight, layer.self_attn, mean, norm / rms, norm)
        block.attn.c_proj.weight.zero_()
        block.attn.c_proj.weight[:width, :width] = layer.self_attn.o_proj.weight.mT
        block.ln_1.weight[:width] = layer.input_layernorm.weight
        block.ln_2.weight[:width] = layer.post_attention_layernorm.weight


def _start_heads(table: Tensor, theirs: Any, mean: Tensor, scale: float, norm: float) -> None:
    """Queries, keys and values [n_embd, 3 n_embd] of the heads that the teacher has, too.

    Args:
        table: of GPT-2, input dimensions in front.
        theirs: the teacher's attention.
        mean: its mean input [d].
        scale: of its weights, as the norm in front of them divides by more.
        norm: what that norm divides by.
    """
    width, wide = len(mean), len(table)
    half = int(theirs.head_dim) // 2
    turn = norm / (math.sqrt(2) * POSITION_SIZE)
    for part, name in enumerate(("q", "k", "v")):
        weight = theirs.get_parameter(f"{name}_proj.weight")
        columns = table[:, part * wide : part * wide + width]
        columns.zero_()
        columns[:width] = weight.mT * scale
        if name == "v":
            continue
        about = (weight @ mean).view(-1, 2, half)  # [heads, half, pair]
        for head in range(len(about)):
            for pair in range(QUICK):
                first, second = (head * 2 * half + side * half + pair for side in (0, 1))
                x, y = (about[head, :, pair] * turn).tolist()
                cos, sin = width + 2 * pair, width + 2 * pair + 1
                columns[:width, [first, second]] = 0
                columns[cos, first], columns[sin, first] = x, -y
                columns[cos, second], columns[sin, second] = y, x


@torch.no_grad()
def _mean_inputs(teacher: Teacher) -> list[tuple[Tensor, float]]:
    """Of each attention: its mean input [d], and the root mean square of the stream before it."""
    found: list[tuple[Tensor, float]] = []

    def hook(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        found.append((output[:, 1:].mean((0, 1)), float(args[0][:, 1:].pow(2).mean().sqrt())))

    hooks = [layer.input_layernorm.register_forward_hook(hook) for layer in teacher.layers]
    teacher.model(input_ids=teacher.sample(), use_cache=False)
    for each in hooks:
        each.remove()
    return found
