"""How a backbone starts from one that is trained already (all of it ours).

At this budget a model of four layers often learns facts from noise, but rarely how to pick an
option by its letter or to weigh two statements: such skills take several steps and pay only when
all of them are there.

* A backbone of another seed inherits the shipped one's weights (`inherit`): circuits that read a
  context are no knowledge of a world. The shipped world's facts that come with them are about
  people whom nobody asks about.
* mini-gptj imitates mini-llama's stream after each attention and each MLP at first (`Imitation`;
  hints between layers are those of FitNets, Romero et al. 2015).
* mini-gpt2 learns mini-llama's half blocks one by one at first (`Blockwise`). Positions that are
  added to the stream are a poor start for heads that look a few tokens back, and hints alone take
  long where every block waits for the one in front of it; so each attention and each MLP reads
  mini-llama's own stream and learns what mini-llama adds to it, all at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPT2LMHeadModel, GPTJForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from bench.world.corpus import PHASES, Corpus, plain_text
from bench.world.training.pretrain import weighted_loss
from bench.world.world import DEFAULT_SEED, World
from editors.parts.language_model import LanguageModel

IMITATION_STEPS = 1500  # of the term: full weight in the first half, fading in the second
QUICK = 6  # pairs of a head that turn by more than a radian over thirty tokens
POSITION_SIZE = 0.5  # root mean square of a position, between those of embeddings and later states
LOSS_WEIGHT = 0.3  # of the loss on the tokens, against the sum over half blocks


@torch.no_grad()
def inherit(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, parent: LanguageModel
) -> int:
    """Copy the parent's weights into `model`; returns how many tokens the two have in common.

    Rows of embeddings and head are matched by the token's text. Those of tokens that the parent
    lacks are drawn from a normal distribution with the mean and deviation of the parent's rows,
    from PyTorch's global generator.
    """
    before, now = parent.tokenizer.get_vocab(), tokenizer.get_vocab()
    theirs, ours = zip(*((before[t], i) for t, i in now.items() if t in before), strict=True)
    tables = {
        id(table.weight)
        for table in (parent.model.get_input_embeddings(), parent.model.get_output_embeddings())
    }
    named = dict(parent.model.named_parameters(remove_duplicate=False))
    weights = model.state_dict()
    for name, value in parent.model.state_dict().items():
        if name in named and id(named[name]) in tables:
            weights[name] = torch.randn_like(weights[name]) * value.std(0) + value.mean(0)
            weights[name][list(ours)] = value[list(theirs)]
        else:
            weights[name] = value
    model.load_state_dict(weights)
    return len(ours)


class Teacher:
    """mini-llama of the shipped world, which reads ids of another tokenizer of that world.

    Attributes:
        model: the backbone, with hooks until `release`.
        tokens: its id [V] of each of the other tokenizer's tokens: by the text, BOS for the
            separator.
    """

    def __init__(self, lm: LanguageModel, tokenizer: PreTrainedTokenizerFast) -> None:
        self.model: Any = lm.model
        self._tokenizer = lm.tokenizer
        self._bos = int(lm.tokenizer.bos_token_id)
        self.tokens = self._same_tokens(tokenizer)
        layers = self.layers
        after_mlp = [*(layer.input_layernorm for layer in layers[1:]), self.model.model.norm]
        self._states: dict[int, Tensor] = {}
        self._hooks = [
            norm.register_forward_pre_hook(store_input(self._states, place))
            for i, layer in enumerate(layers)
            for place, norm in ((2 * i, layer.post_attention_layernorm), (2 * i + 1, after_mlp[i]))
        ]

    @property
    def layers(self) -> Any:
        return self.model.model.layers

    @property
    def width(self) -> int:
        """Of the stream."""
        return int(self.model.config.hidden_size)

    @torch.no_grad()
    def states(self, ids: Tensor) -> list[Tensor]:
        """The stream [B, T, d] after attention i at 2 i and after MLP i at 2 i + 1.

        The `ids` [B, T] are the other tokenizer's; the same text is read after BOS.
        """
        self.model.to(ids.device)
        start = torch.full_like(ids[:, :1], self._bos)
        theirs = torch.cat([start, self.tokens.to(ids.device)[ids]], dim=1)
        self.model.model(input_ids=theirs, use_cache=False)
        return [self._states[place][:, 1:].float() for place in sorted(self._states)]

    def sample(self) -> Tensor:
        """Some of the world's text in its own ids [B, T] after BOS."""
        corpus = Corpus(World(DEFAULT_SEED))
        documents = corpus.documents(corpus.world.rng("imitation"), 400, PHASES[0])
        ids = self._tokenizer(" ".join(map(plain_text, documents)))["input_ids"][1:]
        rows = torch.tensor(ids[: len(ids) // 127 * 127]).view(-1, 127)
        return torch.cat([torch.full_like(rows[:, :1], self._bos), rows], 1)

    def release(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def _same_tokens(self, tokenizer: PreTrainedTokenizerFast) -> Tensor:
        known = self._tokenizer.get_vocab()
        unknown = int(self._tokenizer.unk_token_id)
        ids = torch.empty(len(tokenizer), dtype=torch.long)
        for token, index in tokenizer.get_vocab().items():
            ids[index] = known.get(token, unknown)
        ids[tokenizer.bos_token_id] = self._bos
        return ids


def store_input(
    store: dict[int, Tensor], place: int
) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    """A forward pre-hook that stores a module's input at `place`."""

    def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
        store[place] = args[0]

    return hook


# ---- mini-gptj ---------------------------------------------------------------------------------


class Imitation:
    """The distance of the model's states from the teacher's, as a term of its loss.

    States are compared without mean and scale, in units of their own deviation. The model is GPT-J
    with two blocks for each of the teacher's (ValueError for any other): the first starts with the
    teacher's attention, the second takes the place of its MLP. It is changed in place; `finish`
    removes the hooks. The teacher is of the same world.
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
        _start_gptj(model, teacher)
        norms: list[Any] = [
            *(block.ln_1 for block in model.transformer.h[1:]),
            model.transformer.ln_f,
        ]
        self._hooks = [
            norm.register_forward_pre_hook(store_input(self._states, place))
            for place, norm in enumerate(norms)
        ]

    def __call__(self, ids: Tensor, step: int) -> Tensor:
        """The term at step `step`, counted from 0, after the model's forward of ids [B, T]."""
        left = 1 - (step + 1) / IMITATION_STEPS
        if left <= 0:
            return ids.new_zeros((), dtype=torch.float32)
        distances = [
            (_normal(self._states[place]) - _normal(wanted)).pow(2).mean()
            for place, wanted in enumerate(self._teacher.states(ids))
        ]
        return min(1.0, 2 * left) * torch.stack(distances).mean()

    def finish(self) -> None:
        for hook in self._hooks:
            hook.remove()


@torch.no_grad()
def _start_gptj(model: Any, teacher: Teacher) -> None:
    """Copy the teacher's weights to the corresponding places of the model."""
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
        first.mlp.fc_out.weight.mul_(0.1)  # parts without a counterpart start small
        second.attn.out_proj.weight.mul_(0.1)
    model.transformer.ln_f.weight.copy_(theirs.model.norm.weight)


def _interleaved(weight: Tensor, head: int) -> Tensor:
    """Rows of a head from LLaMA's order of rotated pairs (halves) to GPT-J's (neighbours)."""
    order = torch.arange(head).view(2, head // 2).mT.flatten()
    return weight.view(-1, head, weight.shape[1])[:, order].reshape(weight.shape)


def _normal(states: Tensor) -> Tensor:
    return F.layer_norm(states.float(), states.shape[-1:])


# ---- mini-gpt2 ---------------------------------------------------------------------------------


class Blockwise:
    """The loss of blocks that read the teacher's stream.

    The first dimensions of the model's stream are the teacher's, the others are positions, which no
    block may change. The last MLP learns from the tokens: the head is the embedding, and the
    teacher's is not. The model is GPT-2 with as many blocks as the teacher, of the same world, and
    wider by an even number (ValueError for any other); its weights start from the teacher's.
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
        _start_gpt2(model, teacher)

    def loss(self, model: Any, batch: tuple[Tensor, ...]) -> Tensor:
        """Sum of the distances of half blocks, and the loss on the tokens after the last.

        The batch is ids and loss weights [B, T], and the position of each row's first token [B, 1].
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
def _start_gpt2(model: Any, teacher: Teacher) -> None:
    """Content in the first dimensions as the teacher has it, positions in the others as waves.

    A rotated pair of a head that turns too slowly to distinguish neighbours is copied. A quick pair
    reads the wave of its own rate, turned as the pair's mean content is: that is what the head
    would do if only distance mattered.
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

    The `table` is GPT-2's, input dimensions first; `theirs` the teacher's attention, whose mean
    input is `mean` [d]. Its weights are multiplied by `scale`, because the norm before them divides
    by more: by `norm`.
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
    inputs: list[tuple[Tensor, float]] = []

    def hook(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        inputs.append((output[:, 1:].mean((0, 1)), float(args[0][:, 1:].pow(2).mean().sqrt())))

    hooks = [layer.input_layernorm.register_forward_hook(hook) for layer in teacher.layers]
    teacher.model(input_ids=teacher.sample(), use_cache=False)
    for each in hooks:
        each.remove()
    return inputs
