"""The last block of a model, cached for one batch row: all that new neurons can change."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from editors.parts.hooks import captured_input, captured_output
from editors.parts.language_model import LanguageModel
from editors.parts.patches.neurons import Activation, Neurons
from editors.parts.tokens import TokenBatch


@dataclass(frozen=True)
class LastBlock:
    """What the last block reads and returns for one row of prompt and target ids.

    The block adds its MLP's output to the residual stream (in parallel to attention on GPT-J,
    behind it elsewhere), so neurons move its output by just what they contribute, and only the
    final norm and the head have to be run again.
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


@torch.no_grad()
def mlp_inputs(lm: LanguageModel, row: TokenBatch, *, dtype: torch.dtype) -> Tensor:
    """Inputs [T, d] of the last block's MLP for a batch of one row; no neuron changes them."""
    with captured_input(lm.module(lm.architecture.mlp, lm.n_layers - 1), stop=True) as entering:
        lm.hidden_states(row)
    return entering.value[0].to(dtype)
