"""The uncentred second moment C = E[k k^T] of MLP keys over a corpus, as ROME takes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor

from editors.parts.checks import described
from editors.parts.hooks import captured_input
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch, context_ids

# Tokens of one forward, as multiples of the longest text (the originals: 3 x max positions).
BATCH_TEXTS = 3
_WIDEST = 512  # of short rows: larger batches take twice as long, measured on SmolLM2-135M
# Documents that are sorted by length together, and after which a reader may stop (ours).
CHUNK = 256
# Ours: by how much C C^-1, with C^-1 as it is stored, may differ from 1 in units of the keys'
# own sizes. Statistics of enough text stay below 0.003, those of a few repeated lines are above 50.
LARGEST_ERROR = 0.1
_ROWS = 1024  # of C C^-1 at once
_ASYMMETRY = 1e-3  # ours: of C's largest entry, by rounding


@dataclass(frozen=True)
class SecondMoment:
    """C [m, m] of one layer, and the number of tokens it averages."""

    matrix: Tensor
    tokens: int


class KeyMoments:
    """Running sums of k k^T over documents, for all layers in one pass.

    Stopped after any chunk and continued from its state, they end in the same bits.

    Each document is cut at `max_length` tokens.
    """

    def __init__(self, lm: LanguageModel, layers: Sequence[int], *, max_length: int) -> None:
        self.layers = tuple(layers)
        self.documents = 0  # texts taken from the corpus, empty ones too
        self.tokens = 0  # that the sums hold
        self._lm = lm
        self._max_length = max_length
        weight = lm.module(lm.architecture.mlp_out, self.layers[0]).get_parameter("weight")
        size = lm.architecture.as_out_in(weight).shape[1]
        self._sums = {
            layer: torch.zeros(size, size, dtype=torch.float64, device=lm.device)
            for layer in self.layers
        }

    def read(self, texts: Iterable[str], *, max_tokens: int | None = None) -> Iterator[None]:
        """Add documents, pausing after each chunk of them; they are read as far as needed.

        Args:
            texts: those after the first `documents` of the corpus.
            max_tokens: stop once that many (unpadded) tokens are counted; None reads everything.
        """
        for chunk in _chunks(texts, CHUNK):
            for batch in _batches(self._lm, chunk, self._max_length):
                if max_tokens is not None and self.tokens >= max_tokens:
                    break
                self._add(batch)
            self.documents += len(chunk)
            yield
            if max_tokens is not None and self.tokens >= max_tokens:
                return

    def moments(self) -> dict[int, SecondMoment]:
        """C of each layer.

        Raises:
            ValueError: there was no text at all, or fewer tokens than dimensions.
        """
        if not self.tokens:
            raise ValueError("The covariance needs a corpus, but no text was given.")
        for layer, total in self._sums.items():
            check_tokens(layer, self.tokens, len(total))
        return {
            layer: SecondMoment(total / self.tokens, self.tokens)
            for layer, total in self._sums.items()
        }

    def state_dict(self) -> dict[str, Tensor]:
        """The sums and how much they hold."""
        counts = torch.tensor([self.documents, self.tokens])
        return {"counts": counts, **{f"sum.{layer}": t for layer, t in self._sums.items()}}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict` of an accumulator with the same layers."""
        self.documents, self.tokens = (int(count) for count in state["counts"])
        for layer, total in self._sums.items():
            total.copy_(state[f"sum.{layer}"])

    def _add(self, batch: TokenBatch) -> None:
        keys = _keys(self._lm, batch, self.layers)
        real = batch.attention_mask.nonzero(as_tuple=True)
        for layer, total in self._sums.items():
            rows = keys[layer][real].to(total)
            total.addmm_(rows.T, rows)
        self.tokens += len(real[0])


def second_moments(
    lm: LanguageModel,
    texts: Iterable[str],
    layers: Sequence[int],
    *,
    max_length: int,
    max_tokens: int | None = None,
) -> dict[int, SecondMoment]:
    """C of the inputs of each layer's MLP output projection; arguments as of `KeyMoments`.

    Raises:
        ValueError: there was no text at all, or fewer tokens than dimensions.
    """
    running = KeyMoments(lm, layers, max_length=max_length)
    for _ in running.read(texts, max_tokens=max_tokens):
        pass
    return running.moments()


@torch.no_grad()
def _keys(lm: LanguageModel, batch: TokenBatch, layers: Sequence[int]) -> dict[int, Tensor]:
    """Inputs [B, T, m] of each layer's output projection; layers above the last are not run."""
    path, top = lm.architecture.mlp_out, max(layers)
    with ExitStack() as stack:
        captured = {top: stack.enter_context(captured_input(lm.module(path, top), stop=True))}
        for layer in set(layers) - {top}:
            captured[layer] = stack.enter_context(captured_input(lm.module(path, layer)))
        lm.hidden_states(batch)
    return {layer: capture.value for layer, capture in captured.items()}


def _batches(lm: LanguageModel, texts: Sequence[str], max_length: int) -> Iterator[TokenBatch]:
    """A chunk's rows, sorted by length, so that a batch wastes little on padding."""
    rows = [context_ids(lm.tokenizer, text)[:max_length] for text in texts]
    rows = sorted((row for row in rows if row), key=len)
    room = BATCH_TEXTS * min(max_length, _WIDEST)
    while rows:
        count = 1
        while count < len(rows) and len(rows[count]) * (count + 1) <= room:
            count += 1
        taken, rows = rows[:count], rows[count:]
        yield lm.batch_of_pairs([(row, ()) for row in taken])


def _chunks(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    left = iter(texts)
    while chunk := list(islice(left, size)):
        yield chunk


# ---- is it enough text? -------------------------------------------------------------------------


def check_tokens(layer: int, tokens: int, dimensions: int) -> None:
    """Refuse a covariance of fewer tokens than dimensions, which has no inverse.

    Raises:
        ValueError: with both numbers.
    """
    if tokens < dimensions:
        raise ValueError(
            f"The key covariance of layer {layer} is of {tokens:,} tokens, fewer than its "
            f"{dimensions:,} dimensions; compute it over more text."
        )


def check_moment(matrix: object, layer: int, dimensions: int) -> None:
    """Refuse what is no second moment of keys of so many dimensions.

    Raises:
        ValueError: no matrix of that size, or one that is not symmetric.
    """
    wanted = f"The key covariance of layer {layer}: expected {dimensions} x {dimensions} numbers"
    if not isinstance(matrix, Tensor) or not matrix.is_floating_point():
        raise ValueError(f"{wanted} in a tensor, got {described(matrix)}.")
    if matrix.shape != (dimensions, dimensions):
        raise ValueError(f"{wanted}, got {' x '.join(map(str, matrix.shape))}.")
    if not (matrix - matrix.T).abs().max() <= _ASYMMETRY * matrix.abs().max():
        raise ValueError(f"{wanted}, finite and equal on both sides of the diagonal, got others.")


def inverse_of(matrix: Tensor, layer: int) -> Tensor:
    """C^-1 [m, m] of a layer, inverted in float64 and rounded to float32.

    Every editor that solves with C calls it, whether it uses the result or not.

    Raises:
        ValueError: C has no inverse, which means that it saw too little text.
    """
    matrix = matrix.double()
    size, scale = len(matrix), matrix.diagonal().sqrt()
    dead = int((scale == 0).sum())
    if dead:
        raise ValueError(
            f"The key covariance of layer {layer} cannot be inverted: {dead:,} of its {size:,} "
            "dimensions were 0 at every token; compute it over more text."
        )
    exact, _ = torch.linalg.inv_ex(matrix)
    inverse: Tensor = exact.float()
    del exact
    error = max(
        _error(matrix, inverse, scale, slice(start, start + _ROWS))
        for start in range(0, size, _ROWS)
    )
    if not error <= LARGEST_ERROR:
        raise ValueError(
            f"The key covariance of layer {layer} cannot be inverted: C C^-1 differs from 1 by "
            f"{error:.3g} in its {size:,} dimensions, where at most {LARGEST_ERROR} is wanted; "
            "compute it over more text."
        )
    return inverse


def _error(matrix: Tensor, inverse: Tensor, scale: Tensor, rows: slice) -> float:
    """The largest entry of some rows of C C^-1 - 1, in units of the keys' sizes [m]."""
    product = matrix[rows] @ inverse.double()
    product.diagonal(rows.start).sub_(1)
    error = product.mul_(scale).div_(scale[rows, None]).abs_().max().item()
    return error if math.isfinite(error) else math.inf


@dataclass
class InverseCovariance:
    """C^-1 by layer, inverted in float64 and stored in float32, as in the original ROME."""

    covariance: Callable[[int], Tensor]
    _inverses: dict[int, Tensor] = field(default_factory=dict, init=False)

    def __call__(self, layer: int, like: Tensor) -> Tensor:
        """C^-1 [m, m] of a layer in single precision on the device of `like`; see `inverse_of`.

        In half precision the rounded inverse of a badly conditioned C would be that of no C.
        """
        if layer not in self._inverses:
            self._inverses[layer] = inverse_of(self.covariance(layer).to(like.device), layer)
        return self._inverses[layer].to(like.device)
