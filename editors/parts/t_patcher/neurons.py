"""Extra neurons of the last block's MLP, and all that they can change of a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from editors.parts.growing_rows import GrowingRows
from editors.parts.hooks import captured_input, captured_output
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch

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
        """Forget all neurons."""
        self._rows = {field.name: GrowingRows() for field in fields(Neurons)}

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all neurons."""
        return {name: tensor.clone() for name, tensor in vars(self.neurons).items()}

    def load_state_dict(self, state: Mapping[str, Tensor], *, device: torch.device) -> None:
        """Replace the neurons by those of `state_dict`."""
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
