"""The parts of T-Patcher: neurons of the last MLP, memory text, and training as published."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from typing import Self
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional

from editors.parts.fast_paths import Stopping
from editors.parts.growing_rows import GrowingRows
from editors.parts.hooks import captured_input, captured_output
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch, prompt_ids

# ---- Neurons of the last block -----------------------------------------------------------------


Activation = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Neurons:
    """N neurons of an MLP with M input projections: gate and up (M = 2), or a single one (M = 1).

    Whatever way a model stores its projections, here a neuron's keys are rows and its value is a
    row; appending them to the projections would give the same MLP.
    """

    keys: Tensor  # [N, M, d], the neurons' columns of the input projections
    biases: Tensor  # [N, M]
    values: Tensor  # [N, d], the neurons' rows of the output projection

    @classmethod
    def zeros(cls, count: int, projections: int, width: int, like: Tensor) -> Self:
        """Neurons of zeros, of the dtype and device of `like`."""
        return cls(
            like.new_zeros(count, projections, width),
            like.new_zeros(count, projections),
            like.new_zeros(count, width),
        )

    def responses(self, inputs: Tensor) -> Tensor:
        """Pre-activations [..., N, M] at MLP inputs [..., d]."""
        count, projections, _ = self.keys.shape
        flat: Tensor = inputs @ self.keys.flatten(0, 1).T  # [..., N * M]
        by_neuron: Tensor = flat.unflatten(-1, (count, projections))
        return by_neuron + self.biases

    def contribution(self, inputs: Tensor, activation: Activation) -> Tensor:
        """What the neurons add to the MLP's output [..., d] at inputs [..., d]."""
        responses = self.responses(inputs)
        hidden = activation(responses[..., 0])  # [..., N]
        if responses.shape[-1] == 2:
            hidden = hidden * responses[..., 1]
        return hidden @ self.values


class PatchStore:
    """All neurons of a stream of edits, the oldest first."""

    def __init__(self, projections: int, width: int, *, dtype: torch.dtype) -> None:
        """Start empty, for MLPs of `projections` input projections and width d."""
        self._empty = Neurons.zeros(0, projections, width, torch.empty(0, dtype=dtype))
        self.clear()

    def __len__(self) -> int:
        return len(self._rows["values"])

    @property
    def neurons(self) -> Neurons:
        """Views of all neurons."""
        if not len(self):
            return self._empty
        return Neurons(**{name: rows.rows for name, rows in self._rows.items()})

    def append(self, neurons: Neurons) -> None:
        """Copy neurons after the others."""
        for name, rows in self._rows.items():
            rows.extend(vars(neurons)[name])

    def clear(self) -> None:
        self._rows = {field.name: GrowingRows() for field in fields(Neurons)}

    def state_dict(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in vars(self.neurons).items()}

    def load_state_dict(self, state: Mapping[str, Tensor], *, device: torch.device) -> None:
        self.clear()
        self.append(Neurons(**{name: state[name].to(device) for name in self._rows}))


@dataclass(frozen=True)
class LastBlock:
    """What the last block reads and returns for one row of prompt and target ids.

    The block adds its MLP's output to the residual stream (in parallel to attention on GPT-J,
    after it elsewhere), so neurons move its output by just their contribution, and only the final
    norm and the head have to be run again.
    """

    lm: LanguageModel
    activation: Activation
    inputs: Tensor  # [T, d] of the MLP
    outputs: Tensor  # [T, d] of the block, earlier neurons included
    columns: Tensor  # [N] positions that predict target tokens
    labels: Tensor  # [N]

    @classmethod
    @torch.no_grad()
    def of(cls, lm: LanguageModel, row: TokenBatch, *, dtype: torch.dtype) -> LastBlock:
        """Run a batch of one row up to the last block; `dtype` is that of the neurons."""
        layer = lm.n_layers - 1
        with (
            captured_output(lm.module(lm.architecture.block, layer), stop=True) as output,
            captured_input(lm.module(lm.architecture.mlp, layer)) as entering,
        ):
            lm.hidden_states(row)
        _, columns = row.scored_positions
        inputs = entering.value[0].to(dtype)
        return cls(lm, activation_of(lm), inputs, output.value[0], columns, row.labels)

    def target_logits(self, neurons: Neurons) -> Tensor:
        """Logits [N, V] that predict the target, with more neurons."""
        added = neurons.contribution(self.inputs[self.columns], self.activation)
        hidden = self.outputs[self.columns] + added.to(self.outputs.dtype)
        return self.lm.head(self.lm.module(self.lm.architecture.final_norm)(hidden))

    def target_loss(self, neurons: Neurons) -> Tensor:
        """Mean negative log-likelihood of the target's tokens, with more neurons."""
        logits = self.target_logits(neurons)
        return functional.cross_entropy(logits.to(neurons.values.dtype), self.labels)


def activation_of(lm: LanguageModel) -> Activation:
    """The activation function inside the last block's MLP."""
    return lm.module(lm.architecture.mlp_activation, lm.n_layers - 1)


# ---- Memory text -------------------------------------------------------------------------------

# A line counts if it has this many words or more and is no heading (` = Title = `), which is how
# qizhou000/UniEdit picks lines of WikiText-103.
MIN_WORDS = 21
MAX_LINES = 100_000  # ours: as many as are read of a corpus elsewhere
MEMORY_ROWS = 40_000  # of the original mode, as many as the original takes examples
_VALIDATION_EVERY = 10  # every tenth line goes to the stopping rule; ours
# Floats in the cache, 128 MiB in float32: all of the embedded world's lines fit, and of a large
# corpus few lines come twice. Ours.
_CACHED = 2**25

_State = tuple[tuple[int, int], ...]


def long_lines(documents: Iterable[str]) -> tuple[str, ...]:
    """The running text of documents: their first long lines, without headings.

    Raises:
        ValueError: they hold no such line.
    """
    lines = tuple(islice(_running_text(documents), MAX_LINES))
    if not lines:
        raise ValueError(f"The corpus has no line of at least {MIN_WORDS} words.")
    return lines


def _running_text(documents: Iterable[str]) -> Iterator[str]:
    for line in (line.strip() for document in documents for line in document.splitlines()):
        heading = line.startswith("=") and line.endswith("=")
        if not heading and len(line.split()) >= MIN_WORDS:
            yield line


class MemoryText:
    """Lines of text as inputs of the last block's MLP; edits never change these.

    Every line is run alone, so that its numbers do not depend on the lines before it.
    """

    def __init__(self, lm: LanguageModel, lines: Sequence[str], *, dtype: torch.dtype) -> None:
        self._lm = lm
        self._lines = lines
        self._dtype = dtype
        self._cache = _cache_of(lm.model)

    def __len__(self) -> int:
        return len(self._lines)

    def inputs(self, number: int) -> Tensor:
        """MLP inputs [T, d] of a line, cut to the model's context."""
        line = self._lines[number]
        cached = self._cache.get(line, self._dtype)
        if cached is not None:
            return cached
        ids = prompt_ids(self._lm.tokenizer, line)[: self._lm.model.config.max_position_embeddings]
        inputs = mlp_inputs(self._lm, self._lm.batch_of_pairs([(ids, ())]), dtype=self._dtype)
        self._cache.put(line, inputs)
        return inputs

    def split(self) -> tuple[Tensor, Tensor]:
        """(memory [M, d], validation [M', d]) rows of the original mode, M at most 40,000."""
        parts: tuple[list[Tensor], list[Tensor]] = ([], [])
        rows = 0
        for number in range(len(self)):
            validates = number % _VALIDATION_EVERY == 0
            parts[validates].append(self.inputs(number))
            rows += 0 if validates else len(parts[0][-1])
            if rows >= MEMORY_ROWS:
                break
        memory, validation = parts
        return torch.cat(memory or validation)[:MEMORY_ROWS], torch.cat(validation)


@torch.no_grad()
def mlp_inputs(lm: LanguageModel, row: TokenBatch, *, dtype: torch.dtype) -> Tensor:
    """Inputs [T, d] of the last block's MLP for a batch of one row; no neuron changes them."""
    with captured_input(lm.module(lm.architecture.mlp, lm.n_layers - 1), stop=True) as entering:
        lm.hidden_states(row)
    return entering.value[0].to(dtype)


class _InputCache:
    """MLP inputs by (line, dtype), as long as a model's parameters stay the same."""

    def __init__(self, state: _State) -> None:
        self.state = state
        self._rows: dict[tuple[str, torch.dtype], Tensor] = {}
        self._size = 0

    def get(self, line: str, dtype: torch.dtype) -> Tensor | None:
        return self._rows.get((line, dtype))

    def put(self, line: str, rows: Tensor) -> None:
        if self._size + rows.numel() <= _CACHED:
            self._rows[line, rows.dtype] = rows
            self._size += rows.numel()


# One cache for each model: every editor of it reads the same lines.
_CACHES: WeakKeyDictionary[nn.Module, _InputCache] = WeakKeyDictionary()


def _cache_of(model: nn.Module) -> _InputCache:
    """The cache of a model whose parameters nobody has written to since it was filled."""
    state = tuple((p.data_ptr(), p._version) for p in model.parameters())  # noqa: SLF001 - no other way
    if model not in _CACHES or _CACHES[model].state != state:
        _CACHES[model] = _InputCache(state)
    return _CACHES[model]


# ---- Training as published: one neuron for each wrong token ------------------------------------
#
# Written after the public implementation ZeroYuHuang/Transformer-Patcher. Its driver is for BART
# and BERT; what it adds to the training of a single example there (label smoothing, the example
# repeated in a batch, a plateau schedule of the rate) is left out.

# Constants of the original's launch scripts.
MAX_ERRORS = 5  # neurons of one edit
AMPLIFY = 10.0  # initial factor of every value entry
CLIP_NORM = 5.0
ACTIVATION_SHAPE, ACTIVATION_MARGIN = "top5_exp", 0.0
MEMORY_SHAPES = ("top1000_exp", "top1000_exp")
MEMORY_MARGINS = (3.0, -3.0)  # as for FEVER; the shipped zsRE launcher forgets to pass them on
# The shape of a penalty, see `shaped`.
_SHAPE = re.compile(r"(?:top(?P<count>\d+)_)?(?P<kind>exp|margin|expmargin)")
FIRST_CHECK, CHECK_EVERY, ENOUGH_GAIN = 100, 25, 1e-3  # of the stopping rule, in steps


@dataclass(frozen=True)
class OriginalPatch:
    """n neurons in training: the value of neuron j is `values[j] * amplify[j]`."""

    keys: Tensor  # [n, d]
    biases: Tensor  # [n]
    values: Tensor  # [n, d]
    amplify: Tensor  # [n, d]

    @property
    def neurons(self) -> Neurons:
        """The neurons as an MLP with one input projection takes them."""
        return Neurons(self.keys[:, None], self.biases[:, None], self.values * self.amplify)


@dataclass(frozen=True)
class OriginalTerms:
    """Loss terms of one step, unweighted."""

    edit: Tensor
    activation: Tensor
    memory: Tensor

    def total(self, *, activation: float, memory: float) -> Tensor:
        return self.edit + activation * self.activation + memory * self.memory


@dataclass(frozen=True)
class OriginalTraining:
    """The trained patch; for each step edit, activation and memory loss, total, gradient norm."""

    patch: OriginalPatch
    steps: tuple[tuple[float, ...], ...]


@torch.no_grad()
def error_columns(block: LastBlock) -> Tensor:
    """The first positions whose most likely token is not the target's; at most `MAX_ERRORS`."""
    nothing = Neurons.zeros(0, 1, block.inputs.shape[1], block.inputs)
    wrong = block.target_logits(nothing).argmax(-1) != block.labels
    return block.columns[wrong][:MAX_ERRORS]


def initial_patch(block: LastBlock, columns: Tensor, draw: Tensor) -> OriginalPatch:
    """Keys that answer 1 at their own positions [n], with standard normal values `draw` [n, d]."""
    queries = block.inputs[columns]
    return OriginalPatch(
        keys=queries / queries.square().sum(-1, keepdim=True),
        biases=queries.new_zeros(len(queries)),
        values=draw.to(queries),
        amplify=torch.full_like(queries, AMPLIFY),
    )


def original_terms(
    block: LastBlock, patch: OriginalPatch, columns: Tensor, memory: Tensor
) -> OriginalTerms:
    """Loss terms; neuron j belongs to `columns[j]`, `memory` [M, d] holds MLP inputs."""
    neurons = patch.neurons
    own = neurons.responses(block.inputs[columns])[..., 0].diagonal()[None]  # [1, n]
    return OriginalTerms(
        edit=block.target_loss(neurons),
        activation=activation_loss(own, shape=ACTIVATION_SHAPE, margin=ACTIVATION_MARGIN),
        memory=_memory(neurons, own, memory),
    )


@torch.enable_grad()
def train_original(
    block: LastBlock,
    patch: OriginalPatch,
    columns: Tensor,
    memory: Tensor,
    validation: Tensor,
    *,
    num_steps: int,
    lr: float,
    weight_decay: float,
    activation: float,
    silence: float,
    stopping: Stopping = "by_loss",
) -> OriginalTraining:
    """Adam with L2 and clipped gradients until the stopping rule is met, or `num_steps`.

    From step 100 on, every 25 steps: once the target is answered right, training ends at the first
    check at which the loss on the `validation` rows [M', d] has not fallen by 0.001.
    """
    parts = [part.clone().requires_grad_() for part in vars(patch).values()]
    trained = OriginalPatch(*parts)
    optimizer = torch.optim.Adam(parts, lr=lr, weight_decay=weight_decay)
    steps, rule = [], _StoppingRule(block, columns, validation, stopping)
    for number in range(num_steps):
        if rule.met(number, trained):
            break
        terms = original_terms(block, trained, columns, memory)
        total = terms.total(activation=activation, memory=silence)
        optimizer.zero_grad()
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(parts, CLIP_NORM)
        steps.append(tuple(torch.stack([*vars(terms).values(), total, norm]).tolist()))
        optimizer.step()
    return OriginalTraining(OriginalPatch(*(part.detach() for part in parts)), tuple(steps))


class _StoppingRule:
    """Remembers the validation loss of the last check at which the answer was right."""

    def __init__(
        self, block: LastBlock, columns: Tensor, validation: Tensor, stopping: Stopping
    ) -> None:
        self._block, self._columns, self._validation = block, columns, validation
        self._stopping = stopping
        self._last = float("inf")

    @torch.no_grad()
    def met(self, step: int, patch: OriginalPatch) -> bool:
        if step < FIRST_CHECK or step % CHECK_EVERY:
            return False
        neurons = patch.neurons
        right = torch.equal(self._block.target_logits(neurons).argmax(-1), self._block.labels)
        if not right and self._stopping == "by_loss":
            return False
        own = neurons.responses(self._block.inputs[self._columns])[..., 0].diagonal()[None]
        loss = float(_memory(neurons, own, self._validation))
        first, stop = self._last == float("inf"), loss > self._last - ENOUGH_GAIN
        self._last = loss
        return stop if self._stopping == "by_loss" else self._stopping == "at_once" and not first


def _memory(neurons: Neurons, own: Tensor, rows: Tensor) -> Tensor:
    responses = neurons.responses(rows)[..., 0]  # [M, n]
    return memory_loss(responses, own, shapes=MEMORY_SHAPES, margins=MEMORY_MARGINS)


# ---- Penalties (L_a and L_m of the paper) ------------------------------------------------------


def shaped(excess: Tensor, shape: str) -> Tensor:
    """Scalar penalty of how far values of any shape are on the wrong side; 0 for none.

    Shapes are named as in the original: `exp` is the mean of exp(x), `margin` that of the positive
    x, `expmargin` that of exp(x) over the positive x; `top5_exp` takes the five largest alone.

    Raises:
        ValueError: no such shape.
    """
    match = _SHAPE.fullmatch(shape)
    if match is None:
        raise ValueError(
            f"Unknown loss shape {shape!r}. Available: exp, margin, expmargin, each with topN_."
        )
    terms = excess.flatten()
    if match["kind"] != "exp":
        terms = terms[terms > 0]
    if match["kind"] != "margin":
        terms = terms.exp()
    if match["count"] is not None:
        terms = terms.topk(min(int(match["count"]), len(terms))).values
    return terms.mean() if len(terms) else excess.sum() * 0


def activation_loss(own: Tensor, *, shape: str, margin: float = 0.0) -> Tensor:
    """Penalty of neurons whose pre-activations `own` [E, N] stay below `margin`."""
    return shaped(margin - own, shape)


def memory_loss(
    memory: Tensor, own: Tensor, *, shapes: tuple[str, str], margins: tuple[float, float]
) -> Tensor:
    """Penalty of neurons that answer to memory rows, relative to their own positions and at all.

    Of pre-activations `memory` [M, N] and `own` [E, N]: memory - own + m1, and memory - m2.
    """
    stacked = memory[:, None].expand(-1, len(own), -1)  # [M, E, N]
    relative, absolute = stacked - own + margins[0], stacked - margins[1]
    return shaped(relative, shapes[0]) + shaped(absolute, shapes[1])
