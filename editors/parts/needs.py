"""What an editor needs beside the model, in bytes and operations, by arithmetic: for `bench plan`.

Assumed, ours: rows of 40 tokens while editing and of 32 while training. A block computes 12 d + 4 m
values a token (two norms, queries, keys, values, attention's answer, its projection, two residual
sums; both inputs of the MLP, their product and its activation) and 2 attention weights a head and
pair of tokens. With a gradient, all of them are stored for every block above the first edited one.

A forward of N parameters takes 2 N operations a token, a backward 2 N for gradients that only pass
through and 4 N where weights are trained. Linear algebra counts at the same rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from editors.parts.growing_rows import capacity

EDIT_TOKENS, TRAIN_TOKENS = 40, 32  # of a row
FACT_TOKENS = 30  # of a fact in front of a question; ours
SCORED = 4  # positions of a row whose logits are computed
LOGIT = 3 * 4  # bytes of a logit, its log-softmax and its gradient in float32
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
WITH_ADAM = 16  # bytes of a parameter, its gradient and Adam's two moments
FORWARD, THROUGH, TRAINED = 2, 2, 4  # operations of a parameter and token


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a causal language model."""

    name: str
    layers: int  # L
    hidden: int  # d
    inner: int  # m: width of an MLP's keys
    gated: bool  # whether the MLP has two input projections
    heads: int
    cached: int  # values of one token in one block's cache of keys and values
    vocabulary: int
    context: int
    parameters: int

    @property
    def matrix(self) -> int:
        """Values of one MLP projection."""
        return self.hidden * self.inner

    @property
    def inputs(self) -> int:
        """Input projections of one MLP."""
        return 2 if self.gated else 1


@dataclass(frozen=True, kw_only=True)
class EncoderShape:
    """Sizes of a sentence encoder of the RoBERTa kind."""

    hidden: int  # H
    parameters: int  # without a pooler
    pooler: int

    @property
    def bytes(self) -> float:
        """Bytes of the encoder with its pooler."""
        return 4.0 * (self.parameters + self.pooler)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A model, its sentence encoder, and how they are used."""

    shape: Shape
    encoder: EncoderShape
    dtype: str
    singles: bool  # whether there are cells of one edit, of which some editors prepare several
    edits: int = 1  # of a stream

    @property
    def weights(self) -> float:
        """Bytes of the model."""
        return self.shape.parameters * BYTES[self.dtype]

    def copies(self, values: float) -> float:
        """Pristine copies of edited weights, and float32 masters beside those of half precision.

        See `editors.parts.deltas`.
        """
        return values * (4 if self.dtype == "float32" else BYTES[self.dtype] + 4)

    def above(self, layer: int) -> int:
        """Blocks from `layer` on."""
        return self.shape.layers - layer

    def both_ways(self, layer: int) -> float:
        """Operations of a token, forward and backward through the blocks from `layer` on."""
        return (FORWARD + THROUGH) * self.shape.parameters * self.above(layer) / self.shape.layers

    def block(self, rows: int, tokens: int, dtype: str | None = None) -> float:
        """What one block computes of some rows."""
        shape = self.shape
        values = 12 * shape.hidden + 4 * shape.inner + 2 * shape.heads * tokens
        return rows * tokens * values * BYTES[dtype or self.dtype]

    def logits(self, rows: int) -> float:
        """Of the scored positions."""
        return rows * SCORED * self.shape.vocabulary * LOGIT

    def backward(
        self, rows: int, layer: int, *, tokens: int = EDIT_TOKENS, dtype: str | None = None
    ) -> float:
        """A forward of rows, and a backward down to block `layer`."""
        return self.above(layer) * self.block(rows, tokens, dtype) + self.logits(rows)


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Bytes of an editor beside the model, and operations."""

    held: float = 0.0  # from its construction on: networks, factors, pristine copies
    working: float = 0.0  # more while an edit is computed
    per_edit: float = 0.0  # of what grows with the edits
    first: int = 0  # rows of what grows before the first edit
    cached: float = 0.0  # on disk for each distinct request
    trained: float = 0.0  # parameters that training changes
    training: float | None = None  # beside the model; None: there is nothing to train
    artefact: float = 0.0  # trained weights on disk
    training_operations: float = 0.0  # to its last iteration, without validations
    # Of one edit, the mean over a stream; None for editors whose times the paper publishes.
    edit_operations: float | None = None
    prefix: int = 0  # tokens in front of every question

    @property
    def checkpoint(self) -> float:
        """On disk while it is trained: each parameter, its best value and the moments."""
        return WITH_ADAM * self.trained

    def stored(self, edits: int) -> float:
        """State after so many edits, spare rows included; half as much again while it grows."""
        return 1.5 * self.per_edit * capacity(edits + self.first)


def parameters_of(make: Callable[[], nn.Module]) -> int:
    """Number of parameters of a network, which is never allocated."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in make().parameters())
