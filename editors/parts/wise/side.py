"""One projection with other weights than its own, and how far its answers then are from its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from editors.parts.language_model import LanguageModel
from editors.parts.wise.hparams import WiseHparams


@dataclass(frozen=True)
class SideLayer:
    """A linear module of one block; weights beside it are (out, in), in single precision or more.

    Its bias belongs to every path (the original forgets GPT-J's on all but the main one).
    """

    module: nn.Module
    block: int
    activation: nn.Module  # the MLP's non-linearity
    original: Tensor  # [d_out, d_in]

    @classmethod
    def of(cls, lm: LanguageModel, hparams: WiseHparams, block: int) -> SideLayer:
        """The layer that the hyper-parameters name, in block number `block`."""
        row = lm.architecture
        module = lm.module(row.mlp_out if hparams.projection == "mlp_out" else row.mlp_in[0], block)
        weight = row.as_out_in(module.get_parameter("weight").detach())
        exact = torch.float64 if lm.dtype == torch.float64 else torch.float32
        return cls(module, block, lm.module(row.mlp_activation, block), weight.to(exact))

    def answer(self, inputs: Tensor, weight: Tensor) -> Tensor:
        """Outputs [B, T, d_out] of another weight [d_out, d_in]."""
        bias = getattr(self.module, "bias", None)
        return functional.linear(inputs, weight.to(inputs.dtype), bias)

    def distances(self, own: Tensor, other: Tensor) -> Tensor:
        """Norms [B, T] of the difference of activated outputs [B, T, d_out]."""
        exact = self.original.dtype
        difference = self.activation(other.to(exact)) - self.activation(own.to(exact))
        norms: Tensor = torch.linalg.vector_norm(difference, dim=-1)
        return norms
