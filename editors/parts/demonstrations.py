"""Demonstrations of in-context editing: how a new fact is copied, reworded and left alone.

"Can We Edit Factual Knowledge by In-Context Learning?" (Zheng et al., EMNLP 2023), section 4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from editors.base import EditRequest, EditSample, Probe
from editors.parts.encoder import TextVectors

KINDS = ("copy", "update", "retain")
# Of 32 demonstrations the original has 4, 12 and 16 of these kinds.
SHARES = (4 / 32, 12 / 32, 16 / 32)
BREAK = "\n\n"  # between demonstrations
_FACT, _PROMPT = "New Fact: ", "\nPrompt:"


def opening(request: EditRequest) -> str:
    """A new fact, up to where the question about it goes."""
    return f"{_FACT}{request.prompt.rstrip()} {request.target.lstrip()}{_PROMPT}"


def fact_in(opened: str) -> str:
    """What `opening` has framed, whatever follows."""
    return opened.removeprefix(_FACT).rpartition(_PROMPT)[0]


def answered(request: EditRequest, asked: EditRequest | Probe) -> str:
    """A new fact with a question and its answer."""
    return f"{opening(request)} {asked.prompt.rstrip()} {asked.target.lstrip()}"


def demonstration(sample: EditSample, kind: str, chance: float) -> str:
    """A fact with what is asked of it; `chance` in [0, 1) picks the probe.

    `copy` asks for the fact itself, `update` in other words, `retain` for something else.
    """
    if kind == "copy":
        return answered(sample.request, sample.request)
    probes = sample.generality if kind == "update" else sample.locality
    return answered(sample.request, probes[int(chance * len(probes))])


def kinds_of(count: int) -> tuple[str, ...]:
    """The kinds of `count` demonstrations, in the original's proportions."""
    copies, updates = (round(share * count) for share in SHARES[:2])
    numbers = (copies, updates, count - copies - updates)
    return tuple(kind for kind, number in zip(KINDS, numbers, strict=True) for _ in range(number))


class DemonstrationPool:
    """Training edits, found by what they say; those without probes of both kinds are left out."""

    def __init__(self, vectors: TextVectors, samples: Sequence[EditSample], seed: int) -> None:
        """Encode the pool.

        Raises:
            ValueError: no sample has probes of both kinds.
        """
        self._samples = [sample for sample in samples if sample.generality and sample.locality]
        if not self._samples:
            raise ValueError("Demonstrations need edits with probes of both kinds, got none.")
        self._vectors, self._seed = vectors, seed
        self._keys = vectors([demonstration(sample, "copy", 0.0) for sample in self._samples])

    def nearest(self, request: EditRequest, count: int) -> list[str]:
        """At most `count` demonstrations for a request, the nearest first.

        Kinds and probes are drawn anew for each request, by its texts and the seed alone.
        """
        count = min(count, len(self._samples))
        if not count:
            return []
        query = self._vectors([f"{opening(request)} {request.prompt}"])[0]
        ranks = _descending(self._keys @ query)[:count]
        generator = torch.Generator().manual_seed(_seed_of(request, self._seed))
        order = torch.randperm(count, generator=generator).tolist()
        chances = torch.rand(count, generator=generator).tolist()
        kinds = kinds_of(count)
        return [
            demonstration(self._samples[rank], kinds[place], chance)
            for rank, place, chance in zip(ranks, order, chances, strict=True)
        ]


def _descending(scores: Tensor) -> list[int]:
    """Places of the scores [N], the largest first, of equals the first."""
    places: list[int] = scores.argsort(descending=True, stable=True).tolist()
    return places


def _seed_of(request: EditRequest, seed: int) -> int:
    text = f"{seed}\n{request.prompt}\n{request.target}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
