"""What a hypernetwork is trained on: edits with one rephrase and one unrelated question each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from editors.base import EditRequest, EditSample
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch, batch_of_ids, pad_id, prompt_ids, target_ids
from editors.parts.training.examples import PoolSampler, by_kind, pick

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Row = tuple[Sequence[int], Sequence[int]]  # ids of (prompt, target)


@dataclass(frozen=True)
class Example:
    """One edit sample, tokenised; probes are grouped by type."""

    edit: Row
    generality: tuple[tuple[Row, ...], ...]
    locality: tuple[tuple[Row, ...], ...]


@dataclass(frozen=True)
class MetaBatch:
    """Edits with their probes, drawn; they form `systems` systems of as many edits each, in order.

    The edits of one system are made together, as one change of the weights; systems know nothing
    of each other.
    """

    edits: Sequence[Row]
    rephrases: Sequence[Row]
    unrelated: Sequence[Row]
    systems: int  # divides the number of edits

    @property
    def n_edits(self) -> int:
        """Edits in one system."""
        return len(self.edits) // self.systems

    def chunks(self, systems: int) -> Iterator[MetaBatch]:
        """The same systems, at most `systems` at a time."""
        for start in range(0, self.systems, systems):
            kept = range(start, min(start + systems, self.systems))
            numbers = [s * self.n_edits + e for s in kept for e in range(self.n_edits)]
            yield self._of(numbers, len(kept))

    def micro_batches(self, edits: int) -> Iterator[MetaBatch]:
        """All systems, at most `edits` edits of each at a time."""
        for start in range(0, self.n_edits, edits):
            kept = range(start, min(start + edits, self.n_edits))
            numbers = [s * self.n_edits + e for s in range(self.systems) for e in kept]
            yield self._of(numbers, self.systems)

    def _of(self, numbers: Sequence[int], systems: int) -> MetaBatch:
        return MetaBatch(
            [self.edits[i] for i in numbers],
            [self.rephrases[i] for i in numbers],
            [self.unrelated[i] for i in numbers],
            systems,
        )


def tokenise(samples: Sequence[EditSample], tokenizer: PreTrainedTokenizerBase) -> list[Example]:
    """Examples of all samples with at least one generality and one locality probe."""

    def row(prompt: str, target: str) -> Row:
        return prompt_ids(tokenizer, prompt), target_ids(tokenizer, target)

    return [
        Example(
            edit=row(sample.request.prompt, sample.request.target),
            generality=by_kind(
                sample.generality, [row(p.prompt, p.target) for p in sample.generality]
            ),
            locality=by_kind(sample.locality, [row(p.prompt, p.target) for p in sample.locality]),
        )
        for sample in samples
        if sample.generality and sample.locality
    ]


def request_rows(requests: Sequence[EditRequest], tokenizer: PreTrainedTokenizerBase) -> list[Row]:
    """Rows of the requests alone."""
    return [(prompt_ids(tokenizer, r.prompt), target_ids(tokenizer, r.target)) for r in requests]


def token_batch(lm: LanguageModel, rows: Sequence[Row]) -> TokenBatch:
    """Padded batch of (prompt, target) rows."""
    prompts, targets = zip(*rows, strict=True)
    padding = pad_id(lm.tokenizer)
    return batch_of_ids(prompts, targets, [""] * len(rows), padding=padding, device=lm.device)


class MetaSampler:
    """Draws batches without end, from a private generator whose state can be saved.

    Of several data sets each example picks one uniformly; probes are drawn uniformly over types,
    then inside the type.
    """

    def __init__(self, pools: Mapping[str, Sequence[Example]], seed: int) -> None:
        self._sampler = PoolSampler(pools, seed)

    def draw(self, systems: int, n_edits: int) -> MetaBatch:
        """The next systems of `n_edits` edits each."""
        return self.batch(self._sampler.draw(systems * n_edits), systems)

    def batch(self, examples: Sequence[Example], systems: int) -> MetaBatch:
        """A batch of these examples, their probes drawn."""
        chances = torch.rand(len(examples), 4, generator=self._sampler.generator).tolist()
        return MetaBatch(
            edits=[example.edit for example in examples],
            rephrases=[
                pick(e.generality, *chance[:2]) for e, chance in zip(examples, chances, strict=True)
            ],
            unrelated=[
                pick(e.locality, *chance[2:]) for e, chance in zip(examples, chances, strict=True)
            ],
            systems=systems,
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Generator state and the rest of the permutation."""
        return self._sampler.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue where `state_dict` was taken."""
        self._sampler.load_state_dict(state)
