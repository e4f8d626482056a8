"""Edit samples as RASE sees them: a fact, sentences about it, unrelated queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editors.base import EditRequest, EditSample
from editors.parts.rase.hparams import RaseHparams
from editors.parts.training.examples import PoolSampler, index_at

_SEPARATOR = " || "  # released code, for ZSRE


def fact_prompt(request: EditRequest) -> str:
    """A fact's description without its answer: what makes two edits edits of one fact."""
    return f"{request.subject}{_SEPARATOR}{request.prompt}"


def fact_text(request: EditRequest) -> str:
    """A fact's description."""
    return f"{fact_prompt(request)}{_SEPARATOR}{request.target}"


@dataclass(frozen=True)
class Example:
    """One edit sample as texts."""

    fact: str
    sentences: tuple[str, ...]  # the edited prompt first, then the generality probes
    unrelated: tuple[str, ...]  # the locality probes

    @property
    def texts(self) -> tuple[str, ...]:
        """All of them."""
        return (self.fact, *self.sentences, *self.unrelated)


@dataclass(frozen=True)
class Texts:
    """A batch of b facts; `owners` say which fact a sentence or query belongs to."""

    facts: list[str]
    sentences: list[str]
    owners: list[int]
    unrelated: list[str]
    unrelated_owners: list[int]


def examples_of(samples: Sequence[EditSample]) -> list[Example]:
    """Examples of all samples with at least one generality and one locality probe."""
    usable = [sample for sample in samples if sample.generality and sample.locality]
    return [
        Example(
            fact=fact_text(sample.request),
            sentences=(sample.request.prompt, *(probe.prompt for probe in sample.generality)),
            unrelated=tuple(probe.prompt for probe in sample.locality),
        )
        for sample in usable
    ]


class TextSampler:
    """Draws batches without end, from a private generator whose state can be saved.

    A fact's edited prompt is always among its sentences; the rest, and as many unrelated queries
    at most, are drawn without replacement.
    """

    def __init__(
        self, pools: Mapping[str, Sequence[Example]], hparams: RaseHparams, seed: int
    ) -> None:
        self._sampler = PoolSampler(pools, seed)
        self._hparams = hparams

    def draw(self) -> Texts:
        """The next batch of `batch_size` facts."""
        examples = self._sampler.draw(self._hparams.batch_size)
        others = self._hparams.sentences_per_fact - 1
        return texts_of(
            [
                Example(
                    example.fact,
                    (example.sentences[0], *self._some(example.sentences[1:], others)),
                    tuple(self._some(example.unrelated, max(others, 1))),
                )
                for example in examples
            ]
        )

    def _some(self, texts: Sequence[str], count: int) -> list[str]:
        """At most `count` of the texts."""
        left = list(texts)
        chances = torch.rand(min(count, len(left)), generator=self._sampler.generator).tolist()
        return [left.pop(index_at(chance, len(left))) for chance in chances]

    def state_dict(self) -> dict[str, Tensor]:
        """Generator state and the rest of the permutation."""
        return self._sampler.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue where `state_dict` was taken."""
        self._sampler.load_state_dict(state)


def texts_of(examples: Sequence[Example]) -> Texts:
    """All texts of some examples."""
    numbered = list(enumerate(examples))
    return Texts(
        facts=[example.fact for example in examples],
        sentences=[text for example in examples for text in example.sentences],
        owners=[number for number, example in numbered for _ in example.sentences],
        unrelated=[text for example in examples for text in example.unrelated],
        unrelated_owners=[number for number, example in numbered for _ in example.unrelated],
    )
