"""T-Patcher: new neurons in the last block's MLP for every edit (Huang et al., ICLR 2023).

    FFN(x) + act(x K + b) V       with the loss       L = L_e + a L_a + m L_m

A new neuron's key k, bias b and value v are trained to write the edit (L_e), to be active on it
(L_a) and inactive on memory text (L_m); everything else is frozen.

The default is the variant for decoders that the authors of RECIPE use (qizhou000/UniEdit, editor
`tp`): one neuron an edit, which starts at zero; on LLaMA both the gate and the up projection get
its keys. The mode `original` is the published method (ZeroYuHuang/Transformer-Patcher, in
`parts.t_patcher`): one neuron for each wrong token, and only where the model is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import torch
from torch import Tensor

from editors.base import Editor, EditRequest, Hparams, Resources
from editors.parts.checks import check_above, check_at_least, check_fields
from editors.parts.fast_paths import FastPaths
from editors.parts.hooks import changed_output
from editors.parts.language_model import LanguageModel
from editors.parts.needs import Needs, Setting
from editors.parts.t_patcher import (
    LastBlock,
    MemoryText,
    Neurons,
    OriginalTraining,
    PatchStore,
    activation_of,
    error_columns,
    initial_patch,
    long_lines,
    train_original,
)
from editors.parts.tokens import TokenBatch, batch_of

TPatcherMode = Literal["decoder", "original"]


@dataclass(frozen=True, kw_only=True)
class TPatcherHparams(Hparams):
    """Defaults are UniEdit's, which are the same for its three backbones."""

    mode: TPatcherMode = "decoder"
    num_steps: int = 75  # the most of them in the original mode
    lr: float = 1e-2  # of Adam
    weight_decay: float = 0.0  # L2 in the gradient
    activation_weight: float = 0.1  # of L_a: the neuron is active on the edit
    memory_weight: float = 0.1  # of L_m: it is inactive elsewhere

    def __post_init__(self) -> None:
        check_fields(self, TPatcherHparams)
        check_above("lr", self.lr, 0)
        for name in ("weight_decay", "activation_weight", "memory_weight"):
            check_at_least(name, vars(self)[name], 0)

    @property
    def reads_corpus(self) -> bool:
        """The memory is text."""
        return True

    @property
    def stops_early(self) -> bool:
        """Only as published."""
        return self.mode == "original"


# The original's launch script for zsRE (FEVER's takes a memory weight of 5).
ORIGINAL = TPatcherHparams(
    mode="original", num_steps=2000, weight_decay=0.01, activation_weight=1.0, memory_weight=10.0
)


@dataclass(frozen=True)
class TrainedNeurons:
    """New neurons and the loss before each step."""

    neurons: Neurons
    losses: tuple[float, ...]


class TPatcherEditor(FastPaths, Editor[TPatcherHparams]):
    """Holds its neurons beside the model, whose weights never change.

    A neuron takes part in every forward, also while later ones are trained; each is trained once.
    """

    family: ClassVar[Literal["MP", "AP", "RB"]] = "AP"
    label: ClassVar[str] = "TP"
    table_row = 7
    mark = ("#0072B2", "X")
    aliases: ClassVar[tuple[str, ...]] = ("T-Patcher", "tpatcher")
    hparams_class = TPatcherHparams
    presets: ClassVar[Mapping[str, TPatcherHparams]] = {
        # qizhou000/UniEdit, configs of `tp` for gpt2-xl, gpt-j-6b and llama-3-8b
        "gpt2-xl": TPatcherHparams(),
        "gpt-j-6b": TPatcherHparams(),
        "llama-2-7b": TPatcherHparams(),
        # qizhou000/LiveEdit, for decoders of LLaMA-7B's size
        "llama-2-7b/liveedit": TPatcherHparams(
            num_steps=25, activation_weight=1e-4, memory_weight=1e-4
        ),
        "original": ORIGINAL,
        # Ours: UniEdit's, with the memory weight that benchmarks/choose_hparams.py found.
        "mini-llama": TPatcherHparams(),
        **dict.fromkeys(("mini-gptj", "mini-gpt2"), TPatcherHparams(memory_weight=1.0)),
        "smollm2-135m": TPatcherHparams(),
        "default": TPatcherHparams(),
    }

    def __init__(self, lm: LanguageModel, hparams: TPatcherHparams, resources: Resources) -> None:
        """Take hold of the last block and the memory text.

        Raises:
            ValueError: no text given, or the original mode on a gated MLP, which it cannot extend.
            OSError: the text cannot be read.
        """
        super().__init__(lm, hparams, resources)
        projections = len(lm.architecture.mlp_in)
        if hparams.mode == "original" and projections > 1:
            raise ValueError(
                "The original T-Patcher extends MLPs with one input projection, but "
                f"{lm.architecture.model_type} has a gated one; use the mode 'decoder'."
            )
        # Neurons are trained and applied in single precision at least.
        self._dtype = torch.promote_types(lm.dtype, torch.float32)
        self.store = PatchStore(projections, lm.hidden_size, dtype=self._dtype)
        self._mlp = lm.module(lm.architecture.mlp, lm.n_layers - 1)
        self._activation = activation_of(lm)
        if resources.corpus is None:
            raise ValueError(
                "T-Patcher needs a corpus of plain text to draw memory from, got none."
            )
        self._memory = MemoryText(lm, long_lines(resources.corpus()), dtype=self._dtype)
        self._generator = torch.Generator()
        self.reset()

    def reset(self) -> None:
        """Forget all neurons and restart the editor's own draws."""
        self.store.clear()
        self._own_memory = torch.empty(
            0, self.lm.hidden_size, dtype=self._dtype, device=self.lm.device
        )
        self._generator.manual_seed(self.resources.seed)

    # ---- Editing --------------------------------------------------------------------------------

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Train and store the neurons of each request, one request after the other."""
        for request in requests:
            pair = (request.prompt, request.target)
            self.edit_row(batch_of(self.lm.tokenizer, [pair], device=self.lm.device))

    def edit_row(self, row: TokenBatch) -> TrainedNeurons | OriginalTraining:
        """One edit of given ids, a batch of one row; returns what was trained."""
        with self.steering(row):
            block = LastBlock.of(self.lm, row, dtype=self._dtype)
        if self.hparams.mode == "decoder":
            return self._one_neuron(block)
        return self._one_per_error(block)

    @torch.enable_grad()
    def _one_neuron(self, block: LastBlock) -> TrainedNeurons:
        """A neuron that starts at zero: one Adam step for each memory text.

        Zeros are a saddle: at first only the activation term moves the keys.
        """
        hparams, width = self.hparams, block.inputs.shape[1]
        neuron = Neurons.zeros(1, len(self.lm.architecture.mlp_in), width, block.inputs)
        parts = [part.requires_grad_() for part in vars(neuron).values()]
        optimizer = torch.optim.Adam(parts, lr=hparams.lr, weight_decay=hparams.weight_decay)
        losses = []
        for memory in self.memory_texts():  # [T, d]
            loss = decoder_loss(
                block,
                neuron,
                memory,
                activation=hparams.activation_weight,
                silence=hparams.memory_weight,
            )
            losses.append(loss.detach())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        trained = Neurons(*(part.detach() for part in parts))
        self.store.append(trained)
        return TrainedNeurons(trained, tuple(torch.stack(losses).tolist() if losses else ()))

    def _one_per_error(self, block: LastBlock) -> OriginalTraining:
        """Where nothing is wrong, nothing is trained or remembered."""
        columns = error_columns(block)
        memory, validation = self.memory_rows
        trained = train_original(
            block,
            initial_patch(block, columns, self.initial_values(len(columns))),
            columns,
            torch.cat([memory, self._own_memory]),
            validation,
            num_steps=self.hparams.num_steps if len(columns) else 0,
            lr=self.hparams.lr,
            weight_decay=self.hparams.weight_decay,
            activation=self.hparams.activation_weight,
            silence=self.hparams.memory_weight,
            stopping=self.resources.stopping,
        )
        if len(columns):
            self.store.append(trained.patch.neurons)
            self._own_memory = torch.cat([self._own_memory, block.inputs[1:-1]])
        return trained

    def memory_texts(self) -> list[Tensor]:
        """MLP inputs [T, d] of a random line for each step of the next neuron."""
        numbers = torch.randint(
            len(self._memory), (self.hparams.num_steps,), generator=self._generator
        )
        return [self._memory.inputs(int(number)) for number in numbers]

    def initial_values(self, count: int) -> Tensor:
        """Standard normal values [count, d] of new neurons, for the original mode."""
        return torch.randn(count, self.lm.hidden_size, generator=self._generator)

    @cached_property
    def memory_rows(self) -> tuple[Tensor, Tensor]:
        """(memory [M, d], validation [M', d]) of the original mode, without the edits' own."""
        return self._memory.split()

    # ---- Inference ------------------------------------------------------------------------------

    def steering(self, batch: TokenBatch) -> AbstractContextManager[None]:
        """Add the neurons' contribution to the output of the last block's MLP."""
        if not len(self.store):
            return nullcontext()
        neurons = self.store.neurons

        def answer(inputs: Tensor, output: Tensor) -> Tensor:
            added = neurons.contribution(inputs.to(self._dtype), self._activation)
            return output + added.to(output.dtype)

        return changed_output(self._mlp, answer)

    # ---- State, speed and size ------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        """Neurons, the edits' own rows of the memory (original mode), and state of the draws."""
        return {
            **self.store.state_dict(),
            "own_memory": self._own_memory.clone(),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.store.load_state_dict(state, device=self.lm.device)
        self._own_memory = state["own_memory"].to(self.lm.device)
        self._generator.set_state(state["generator"])

    @property
    def steers_alike(self) -> bool:
        return True

    @classmethod
    def needs(cls, hparams: TPatcherHparams, on: Setting) -> Needs:  # noqa: ARG003
        """Keys, biases and a value of one neuron an edit; only the head is run."""
        shape = on.shape
        return Needs(
            per_edit=4.0 * ((shape.inputs + 1) * shape.hidden + shape.inputs),
            working=on.backward(1, shape.layers - 1),
        )


def decoder_loss(
    block: LastBlock, neuron: Neurons, memory: Tensor, *, activation: float, silence: float
) -> Tensor:
    """L_e + `activation` x L_a at all positions of the edit + `silence` x L_m on other text.

    `memory` holds MLP inputs [T, d] of an unrelated text.
    """
    active = reply_loss(neuron.responses(block.inputs))
    quiet = silence_loss(neuron.responses(memory))
    return block.target_loss(neuron) + activation * active + silence * quiet


def reply_loss(responses: Tensor) -> Tensor:
    """L_a: sum over M projections of the mean exp(-x) of responses [T, N, M]."""
    return (-responses).exp().mean(dim=(0, 1)).sum()


def silence_loss(responses: Tensor) -> Tensor:
    """L_m: sum over M projections of the mean exp(relu(x)) of responses [T, N, M]; at least M."""
    return torch.relu(responses).exp().mean(dim=(0, 1)).sum()
