"""The uncentred second moment C = E[k k^T] of MLP keys over a corpus (ROME, appendix E.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from editors.parts.hooks import captured_input
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch, batch_of_ids, pad_id, prompt_ids

# Tokens of one forward, as multiples of the longest text (the originals: 3 x max positions).
BATCH_TEXTS = 3
# Texts that are sorted by length together, so that a batch wastes little on padding (ours).
SORTED_TEXTS = 256


@dataclass(frozen=True)
class SecondMoment:
    """C [m, m] of one layer, and the number of tokens it averages."""

    matrix: Tensor
    tokens: int


def second_moments(
    lm: LanguageModel,
    texts: Iterable[str],
    layers: Sequence[int],
    *,
    max_length: int,
    max_tokens: int | None = None,
    accumulate: torch.dtype = torch.float64,
) -> dict[int, SecondMoment]:
    """C of the inputs of each layer's MLP output projection, all layers in one pass.

    Args:
        texts: documents; each is cut at `max_length` tokens. Read only as far as needed.
        layers: block numbers.
        max_tokens: stop once that many (unpadded) tokens are counted; None reads everything.
        accumulate: dtype of the sums.

    Raises:
        ValueError: there was no text at all.
    """
    top = max(layers)
    sums: dict[int, Tensor] = {}
    tokens = 0
    for batch in _batches(lm, texts, max_length):
        keys = _keys(lm, batch, layers, top)
        kept = batch.attention_mask.bool()
        for layer in layers:
            rows = keys[layer][kept].to(accumulate)
            sums[layer] = sums[layer].addmm_(rows.T, rows) if layer in sums else rows.T @ rows
        tokens += int(kept.sum())
        if max_tokens is not None and tokens >= max_tokens:
            break
    if not tokens:
        raise ValueError("The covariance needs a corpus, but no text was given.")
    return {layer: SecondMoment(total.div_(tokens), tokens) for layer, total in sums.items()}


@torch.no_grad()
def _keys(
    lm: LanguageModel, batch: TokenBatch, layers: Sequence[int], top: int
) -> dict[int, Tensor]:
    """Inputs [B, T, m] of each layer's output projection; layers above the last are not run."""
    path = lm.architecture.mlp_out
    with ExitStack() as stack:
        captured = {top: stack.enter_context(captured_input(lm.module(path, top), stop=True))}
        for layer in set(layers) - {top}:
            captured[layer] = stack.enter_context(captured_input(lm.module(path, layer)))
        lm.hidden_states(batch)
    return {layer: capture.value for layer, capture in captured.items()}


def _batches(lm: LanguageModel, texts: Iterable[str], max_length: int) -> Iterator[TokenBatch]:
    for chunk in _chunks(texts, SORTED_TEXTS):
        rows = [prompt_ids(lm.tokenizer, text)[:max_length] for text in chunk]
        rows = sorted((row for row in rows if row), key=len)
        while rows:
            count = 1
            while count < len(rows) and len(rows[count]) * (count + 1) <= BATCH_TEXTS * max_length:
                count += 1
            taken, rows = rows[:count], rows[count:]
            yield batch_of_ids(
                taken,
                [()] * count,
                [""] * count,
                padding=pad_id(lm.tokenizer),
                device=lm.device,
            )


def _chunks(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    chunk: list[str] = []
    for text in texts:
        chunk.append(text)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


class InverseCovariance:
    """C^-1 by layer, inverted in float64 and kept in float32, as the original ROME keeps it."""

    def __init__(self, covariance: Callable[[int], Tensor]) -> None:
        self._covariance = covariance
        self._inverses: dict[int, Tensor] = {}

    def __call__(self, layer: int, like: Tensor) -> Tensor:
        """C^-1 [m, m] of a layer in the dtype and on the device of `like`.

        Raises:
            ValueError: C is singular, which means that it saw too little text.
        """
        if layer not in self._inverses:
            matrix = self._covariance(layer).to(device=like.device, dtype=torch.float64)
            inverse, failed = torch.linalg.inv_ex(matrix)
            if failed.any() or not inverse.isfinite().all():
                raise ValueError(
                    f"The key covariance of layer {layer} cannot be inverted; "
                    "compute it over more text."
                )
            self._inverses[layer] = inverse.float()
        return self._inverses[layer].to(like)
