"""A backbone of another architecture starts by imitating mini-llama's states.

From noise, at this budget, GPT-J and GPT-2 learn facts, but rarely how to pick an option by its
letter or to weigh two statements: such skills take several steps and pay only when all of them are
there. Told what mini-llama's stream holds behind each attention and each MLP, a model learns each
step by itself (ours; hints between layers are those of FitNets, Romero et al. 2015).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    GPT2LMHeadModel,
    GPTJForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from bench.world.corpus import PHASES, Corpus, plain_text
from bench.world.world import DEFAULT_SEED, World
from editors.parts.language_model import LanguageModel

STEPS = 1500  # with the term; it has its full weight in the first half, and fades in the second
QUICK = 6  # pairs of a head that turn by more than a radian over thirty tokens
_MAPS = "imitation"  # name of the maps in the model while it is trained

Streams = Mapping[int, nn.Module]  # by half block: a module whose input is the stream there


class Imitation:
    """The distance of the model's states from the teacher's, as a term of its loss.

    States are compared without mean and scale, in units of their own deviation.

    Args:
        model: GPT-J with two blocks for each of the teacher's: the first one starts with the
            teacher's attention, the second one has the place of its MLP. Or GPT-2 with as many
            blocks as the teacher; its stream holds positions as well, so it is compared behind a
            linear map that is learned, and not at the end, where the head is the embedding.
        tokenizer: of the model.
        teacher: mini-llama of the same world. Both are changed in place: `finish` undoes that.

    Raises:
        ValueError: there is no such comparison for the model's architecture or depth.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, teacher: LanguageModel
    ) -> None:
        self._teacher: Any = teacher.model
        self._bos = int(teacher.tokenizer.bos_token_id)
        self._tokens = _teachers_tokens(tokenizer, teacher)
        self._wanted: dict[int, Tensor] = {}
        self._states: dict[int, Tensor] = {}
        streams = _streams(model, len(self._teacher.model.layers))
        self._places = tuple(streams)
        _start(model, self._teacher, self._tokens, _sample(teacher))
        self._maps: nn.ModuleList | None = None
        if isinstance(model, GPT2LMHeadModel):
            self._maps = nn.ModuleList(
                _identity(model, self._teacher.config.hidden_size) for _ in streams
            )
            model.add_module(_MAPS, self._maps)  # trained and resumed with the model
        self._hooks = [
            module.register_forward_pre_hook(_keep(kept, place))
            for kept, kept_streams in (
                (self._wanted, _teachers_streams(self._teacher)),
                (self._states, streams),
            )
            for place, module in kept_streams.items()
        ]

    def __call__(self, ids: Tensor, step: int) -> Tensor:
        """The term at step `step`, counted from 0, behind the model's forward of ids [B, T]."""
        left = 1 - (step + 1) / STEPS
        if left <= 0:
            return ids.new_zeros((), dtype=torch.float32)
        self._ask_teacher(ids)
        distances = []
        for number, place in enumerate(self._places):
            state = self._states[place]
            state = state if self._maps is None else self._maps[number](state)
            wanted = self._wanted[place][:, 1:]  # without BOS
            distances.append((_normal(state) - _normal(wanted)).pow(2).mean())
        return min(1.0, 2 * left) * torch.stack(distances).mean()

    def finish(self, model: PreTrainedModel) -> None:
        """Take hooks and maps out of model and teacher."""
        for hook in self._hooks:
            hook.remove()
        if hasattr(model, _MAPS):
            delattr(model, _MAPS)

    @torch.no_grad()
    def _ask_teacher(self, ids: Tensor) -> None:
        """Run the teacher on the same text behind its BOS."""
        self._teacher.to(ids.device)
        start = torch.full_like(ids[:, :1], self._bos)
        theirs = torch.cat([start, self._tokens.to(ids.device)[ids]], dim=1)
        self._teacher.model(input_ids=theirs, use_cache=False)


def _teachers_tokens(tokenizer: PreTrainedTokenizerFast, teacher: LanguageModel) -> Tensor:
    """The teacher's id [V] of each token: by its text, and BOS for the separator."""
    known = teacher.tokenizer.get_vocab()
    unknown = int(teacher.tokenizer.unk_token_id)
    ids = torch.empty(len(tokenizer), dtype=torch.long)
    for token, index in tokenizer.get_vocab().items():
        ids[index] = known.get(token, unknown)
    ids[tokenizer.bos_token_id] = teacher.tokenizer.bos_token_id
    return ids


def _sample(teacher: LanguageModel) -> Tensor:
    """Some of the world's text [B, T] behind BOS."""
    corpus = Corpus(World(DEFAULT_SEED))
    documents = corpus.documents(corpus.world.rng("imitation"), 400, PHASES[0])
    ids = teacher.tokenizer(" ".join(map(plain_text, documents)))["input_ids"][1:]
    rows = torch.tensor(ids[: len(ids) // 127 * 127]).view(-1, 127)
    return torch.cat([torch.full_like(rows[:, :1], int(teacher.tokenizer.bos_token_id)), rows], 1)


def _teachers_streams(teacher: Any) -> Streams:
    layers = teacher.model.layers
    behind = [*(layer.input_layernorm for layer in layers[1:]), teacher.model.norm]
    return {2 * i: layer.post_attention_layernorm for i, layer in enumerate(layers)} | {
        2 * i + 1: norm for i, norm in enumerate(behind)
    }


def _streams(model: Any, n_layers: int) -> Streams:
    """By half block of a teacher of `n_layers`: behind attention 2 i, behind MLP 2 i + 1."""
    if isinstance(model, GPTJForCausalLM) and len(model.transformer.h) == 2 * n_layers:
        norms = [*(block.ln_1 for block in model.transformer.h[1:]), model.transformer.ln_f]
        return {i: norms[i] for i in (*range(0, 2 * n_layers, 2), *range(1, 2 * n_layers, 2))}
    if isinstance(model, GPT2LMHeadModel) and len(model.transformer.h) == n_layers:
        blocks: Any = model.transformer.h
        return {2 * i: block.ln_2 for i, block in enumerate(blocks)} | {
            2 * i + 1: block.ln_1 for i, block in enumerate(blocks[1:])
        }
    raise ValueError(
        f"Only GPT-J of {2 * n_layers} or GPT-2 of {n_layers} blocks imitates a LLaMA of "
        f"{n_layers}, got {model.config.model_type} of {model.config.num_hidden_layers}."
    )


@torch.no_grad()
def _start(model: Any, teacher: Any, tokens: Tensor, text: Tensor) -> None:
    """Give the model what the teacher has in a like place."""
    if isinstance(model, GPT2LMHeadModel):
        _start_gpt2(model, teacher, tokens, text)
        return
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    embedding.copy_(teacher.get_input_embeddings().weight[tokens])
    head.copy_(teacher.get_output_embeddings().weight[tokens])
    blocks: Any = model.transformer.h
    for layer, first, second in zip(teacher.model.layers, blocks[::2], blocks[1::2], strict=True):
        ours, theirs = first.attn, layer.self_attn
        for name in ("q", "k"):
            rotary = getattr(theirs, f"{name}_proj").weight
            getattr(ours, f"{name}_proj").weight.copy_(_interleaved(rotary, ours.head_dim))
        ours.v_proj.weight.copy_(theirs.v_proj.weight)
        ours.out_proj.weight.copy_(theirs.o_proj.weight)
        first.ln_1.weight.copy_(layer.input_layernorm.weight)
        second.ln_1.weight.copy_(layer.post_attention_layernorm.weight)
        first.mlp.fc_out.weight.mul_(0.1)  # what the teacher does not have there starts small
        second.attn.out_proj.weight.mul_(0.1)
    model.transformer.ln_f.weight.copy_(teacher.model.norm.weight)


@torch.no_grad()
def _start_gpt2(model: Any, teacher: Any, tokens: Tensor, text: Tensor) -> None:
    """Content in the first dimensions as the teacher has it, positions in the others as waves.

    A rotated pair of a head turns too slowly to tell neighbours apart, and is copied; or it is
    quick, and reads the wave of its own rate, turned as the pair's mean content is: that is what
    the head would do if only distance mattered.
    """
    width, places = teacher.config.hidden_size, model.transformer.wpe.weight
    embedding = model.transformer.wte.weight
    embedding.zero_()
    embedding[:, :width] = teacher.get_input_embeddings().weight[tokens]
    size = float(embedding[:, :width].pow(2).mean().sqrt())
    rates = teacher.model.rotary_emb.inv_freq[: (places.shape[1] - width) // 2]
    angles = torch.arange(len(places))[:, None] * rates
    places.zero_()
    places[:, width:] = (
        math.sqrt(2) * size * torch.stack([angles.cos(), angles.sin()], -1).flatten(1)
    )
    means = _mean_inputs(teacher, text)
    for (layer, block), (mean, rms) in zip(
        zip(teacher.model.layers, model.transformer.h, strict=True), means, strict=True
    ):
        theirs, ours = layer.self_attn, block.attn
        n_heads = teacher.config.num_attention_heads
        norm = math.sqrt((width * rms**2 + (places.shape[1] - width) * size**2) / places.shape[1])
        for part, name in enumerate(("q", "k", "v")):
            weight = getattr(theirs, f"{name}_proj").weight
            start = part * places.shape[1]
            table = ours.c_attn.weight[:, start : start + width]
            table.zero_()
            table[:width] = weight.mT * norm / rms
            if name == "v":
                continue
            about = (weight @ mean).view(n_heads, 2, -1)  # [H, half, pair]
            half = about.shape[2]
            for head in range(n_heads):
                for pair in range(QUICK):
                    first, second = (head * 2 * half + side * half + pair for side in (0, 1))
                    x, y = about[head, :, pair].tolist()
                    table[:width, [first, second]] = 0
                    cos, sin = width + 2 * pair, width + 2 * pair + 1
                    scale = norm / (math.sqrt(2) * size)
                    table[cos, first], table[sin, first] = x * scale, -y * scale
                    table[cos, second], table[sin, second] = y * scale, x * scale
        ours.c_proj.weight.zero_()
        ours.c_proj.weight[:width, :width] = theirs.o_proj.weight.mT
        block.ln_1.weight[:width] = layer.input_layernorm.weight
        block.ln_2.weight[:width] = layer.post_attention_layernorm.weight


@torch.no_grad()
def _mean_inputs(teacher: Any, text: Tensor) -> list[tuple[Tensor, float]]:
    """Of each attention: its mean input [d], and the root mean square of the stream before it."""
    found: list[tuple[Tensor, float]] = []

    def hook(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        found.append((output[:, 1:].mean((0, 1)), float(args[0][:, 1:].pow(2).mean().sqrt())))

    hooks = [layer.input_layernorm.register_forward_hook(hook) for layer in teacher.model.layers]
    teacher.model(input_ids=text, use_cache=False)
    for each in hooks:
        each.remove()
    return found


def _interleaved(weight: Tensor, head: int) -> Tensor:
    """Rows of a head from LLaMA's order of rotated pairs (halves) to GPT-J's (neighbours)."""
    order = torch.arange(head).view(2, head // 2).mT.flatten()
    return weight.view(-1, head, weight.shape[1])[:, order].reshape(weight.shape)


def _identity(model: GPT2LMHeadModel, width: int) -> nn.Linear:
    linear = nn.Linear(model.config.n_embd, width, bias=False)
    nn.init.eye_(linear.weight)
    return linear


def _normal(states: Tensor) -> Tensor:
    return F.layer_norm(states.float(), states.shape[-1:])


def _keep(store: dict[int, Tensor], place: int) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
        store[place] = args[0]

    return hook
