"""What the follower reads: facts as text in front of questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from editors.base import EditRequest, EditSample, Probe
from editors.parts.tokens import prompt_ids, target_ids
from editors.parts.training.sampling import PoolSampler, by_kind, pick

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Ids = Sequence[int]

# qizhou000/LiveEdit; the question follows at once.
PREFIX = "[Updated Information]{fact}\n[Query]"


def fact_of(request: EditRequest) -> str:
    """A request as a statement: prompt and target joined by exactly one space."""
    return f"{request.prompt.rstrip()} {request.target.lstrip()}"


def prefix_ids(tokenizer: PreTrainedTokenizerBase, fact: str) -> list[int]:
    """Ids of the text that states a fact, with BOS where the tokenizer has one."""
    return prompt_ids(tokenizer, PREFIX.replace("{fact}", fact))


@dataclass(frozen=True)
class Row:
    """One question with its answer."""

    text: str  # of the question
    prompt: Ids
    target: Ids

    def behind(self, prefix: Ids, leading: int) -> tuple[Ids, Ids]:
        """(prompt, target) behind a prefix, which brings the `leading` special tokens itself."""
        return [*prefix, *self.prompt[leading:]], self.target

    @property
    def plain(self) -> tuple[Ids, Ids]:
        """(prompt, target) as it is."""
        return self.prompt, self.target


@dataclass(frozen=True)
class LteExample:
    """One edit sample; probes are grouped by type, because drawing is uniform over types."""

    fact: str
    prefix: Ids
    reliability: Row
    generality: tuple[tuple[Row, ...], ...]
    locality: tuple[tuple[Row, ...], ...]


def tokenise(samples: Sequence[EditSample], tokenizer: PreTrainedTokenizerBase) -> list[LteExample]:
    """Examples of all samples with at least one generality and one locality probe."""
    usable = [sample for sample in samples if sample.generality and sample.locality]
    return [_example(sample, tokenizer) for sample in usable]


def _example(sample: EditSample, tokenizer: PreTrainedTokenizerBase) -> LteExample:
    request, fact = sample.request, fact_of(sample.request)
    return LteExample(
        fact=fact,
        prefix=prefix_ids(tokenizer, fact),
        reliability=_row(request.prompt, request.target, tokenizer),
        generality=_grouped(sample.generality, tokenizer),
        locality=_grouped(sample.locality, tokenizer),
    )


def _row(prompt: str, target: str, tokenizer: PreTrainedTokenizerBase) -> Row:
    return Row(prompt, prompt_ids(tokenizer, prompt), target_ids(tokenizer, target))


def _grouped(
    probes: Sequence[Probe], tokenizer: PreTrainedTokenizerBase
) -> tuple[tuple[Row, ...], ...]:
    return by_kind(probes, [_row(probe.prompt, probe.target, tokenizer) for probe in probes])


@dataclass(frozen=True)
class Drawn:
    """An example with the probes of one training step."""

    example: LteExample
    generality: Row
    locality: Row


class LteSampler:
    """Draws examples without end, from a private generator whose state can be saved.

    Of several data sets each row picks one; see `PoolSampler`. Probes are drawn uniformly over
    types, then inside the type.
    """

    def __init__(self, pools: Mapping[str, Sequence[LteExample]], seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._sampler = PoolSampler(pools, self._generator, "rows")

    def draw(self, count: int) -> list[Drawn]:
        """The next `count` examples."""
        return self.probes(self._sampler.draw(count))

    def probes(self, examples: Sequence[LteExample]) -> list[Drawn]:
        """These examples with probes drawn."""
        chances = torch.rand(len(examples), 4, generator=self._generator).tolist()
        return [
            Drawn(
                example,
                pick(example.generality, *chance[0:2]),
                pick(example.locality, *chance[2:4]),
            )
            for example, chance in zip(examples, chances, strict=True)
        ]

    def state_dict(self) -> dict[str, Tensor]:
        """Generator state and the rest of the permutation."""
        return self._sampler.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue where `state_dict` was taken."""
        self._sampler.load_state_dict(state)
