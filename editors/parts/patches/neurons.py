"""Extra neurons of a block's MLP, beside the weights of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from editors.parts.growing_rows import GrowingRows

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
        return self.output(self.responses(inputs), activation)

    def output(self, responses: Tensor, activation: Activation) -> Tensor:
        """What pre-activations [..., N, M] add to the MLP's output [..., d]."""
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
        """Copy neurons behind the others."""
        for name, rows in self._rows.items():
            for row in vars(neurons)[name]:
                rows.append(row)

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
