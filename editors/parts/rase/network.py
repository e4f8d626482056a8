"""RASE's trained part: two projection heads over a frozen sentence encoder, and the gate."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from editors.parts.rase.gate import Gate
from editors.parts.rase.hparams import RaseHparams

_DROPOUT = 0.2  # in front of the carry gates, as in the released code


class HighwayHead(nn.Module):
    """Text vectors [B, H] to unit vectors [B, w]: highway layers, then a linear map.

    A highway layer mixes g * relu(W x) + (1 - g) * x with a gate g = sigmoid(V x) whose bias starts
    at 0 (released code; Srivastava et al., 2015).
    """

    def __init__(self, size: int, width: int, layers: int) -> None:
        super().__init__()
        self.nonlinear = nn.ModuleList(nn.Linear(size, size) for _ in range(layers))
        self.carry = nn.ModuleList(nn.Linear(size, size) for _ in range(layers))
        self.outward = nn.Linear(size, width)
        for layer in self.carry:
            nn.init.zeros_(layer.get_parameter("bias"))

    def forward(self, vectors: Tensor) -> Tensor:
        hidden = vectors * math.sqrt(vectors.shape[-1])  # unit vectors have tiny components
        for nonlinear, carry in zip(self.nonlinear, self.carry, strict=True):
            gate = torch.sigmoid(carry(functional.dropout(hidden, _DROPOUT, self.training)))
            hidden = gate * torch.relu(nonlinear(hidden)) + (1 - gate) * hidden
        return functional.normalize(self.outward(hidden), dim=-1)


class RaseNetwork(nn.Module):
    """Everything that training makes: a head for facts, one for sentences, calibrated gates.

    Build it under a forked generator: modules draw their initial weights from the global one.
    Without trained heads both are the identity.
    """

    def __init__(self, size: int, hparams: RaseHparams) -> None:
        super().__init__()
        self.trained = hparams.heads == "trained"
        if self.trained:
            sizes = (size, hparams.width, hparams.highway_layers)
            self.fact_head = HighwayHead(*sizes)
            self.sentence_head = HighwayHead(*sizes)
        self.gates = nn.Buffer(torch.stack([_row(Gate()), _row(Gate())]))  # one-way, two-way

    def facts(self, vectors: Tensor) -> Tensor:
        """Unit vectors [B, w] of stored facts, from the encoder's [B, H]."""
        found: Tensor = self.fact_head(vectors) if self.trained else vectors
        return found

    def sentences(self, vectors: Tensor) -> Tensor:
        """Unit vectors [B, w] of edited prompts and of queries, from the encoder's [B, H]."""
        found: Tensor = self.sentence_head(vectors) if self.trained else vectors
        return found

    def gate(self, *, two_way: bool) -> Gate:
        """The calibrated gate of one of the two rankings."""
        maximum, difference, spread = self.gates[int(two_way)].tolist()
        return Gate(maximum=maximum, difference=difference, spread=spread)

    @torch.no_grad()
    def set_gate(self, gate: Gate, *, two_way: bool) -> None:
        """Keep a calibrated gate with the weights."""
        self.gates[int(two_way)] = _row(gate).to(self.gates)


def _row(gate: Gate) -> Tensor:
    return torch.tensor([gate.maximum, gate.difference, gate.spread])
