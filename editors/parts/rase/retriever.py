"""Texts to the vectors that RASE compares, by a frozen encoder and the heads over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editors.parts.encoder import TextVectors
from editors.parts.rase.network import RaseNetwork

Vectorise = Callable[[Sequence[str]], Tensor]  # B texts to unit vectors [B, H]


class KnownVectors:
    """Vectors of texts that are all encoded at once, because a frozen encoder gives no others."""

    def __init__(self, vectors: Vectorise, texts: Iterable[str]) -> None:
        distinct = sorted(set(texts), key=lambda text: (len(text), text))  # little padding
        self._rows = {text: row for row, text in enumerate(distinct)}
        self._vectors = vectors(distinct)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [B, H] of B of the texts."""
        return self._vectors[[self._rows[text] for text in texts]]


@dataclass(frozen=True)
class FactRetriever:
    """Encoder and network are frozen and in eval mode."""

    vectors: TextVectors
    network: RaseNetwork

    @torch.no_grad()
    def facts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [B, w] of fact descriptions."""
        return self.network.facts(self.vectors(texts))

    @torch.no_grad()
    def sentences(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [B, w] of prompts and queries."""
        return self.network.sentences(self.vectors(texts))
