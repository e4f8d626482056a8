"""What a training step sees: tokenised edit samples, held-out splits, draws of examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import torch
from torch import Tensor

from editors.base import EditRequest, EditSample, Probe
from editors.parts.texts import joined
from editors.parts.tokens import Ids, Pair, prompt_ids, target_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

T = TypeVar("T")
Pools = dict[str, list[T]]  # by data set
Mix = Literal["batch", "rows"]


def statement(request: EditRequest) -> str:
    """A request as a statement: prompt and target joined as `target_ids` joins them."""
    return joined(request.prompt, request.target)


@dataclass(frozen=True)
class Question:
    """A prompt with its answer."""

    text: str  # of the prompt
    encoded: Ids  # the same as a sentence encoder that is trained too reads it
    prompt: Ids  # language model ids
    target: Ids

    @property
    def pair(self) -> Pair:
        """(prompt, target) ids."""
        return self.prompt, self.target

    def after(self, prefix: Ids, leading: int) -> Pair:
        """(prompt, target) after a prefix, which brings the `leading` special tokens itself."""
        return [*prefix, *self.prompt[leading:]], self.target


@dataclass(frozen=True)
class Example:
    """One edit sample; probes are grouped by type, because drawing is uniform over types."""

    fact: str
    fact_ids: Ids  # the fact as what is trained reads it
    reliability: Question
    generality: tuple[tuple[Question, ...], ...]
    locality: tuple[tuple[Question, ...], ...]

    @property
    def related(self) -> Iterator[Question]:
        """The edit's own question, then its rephrases."""
        yield self.reliability
        for group in self.generality:
            yield from group

    @property
    def unrelated(self) -> Iterator[Question]:
        """Questions that the edit must leave alone."""
        for group in self.locality:
            yield from group


def examples_of(
    samples: Sequence[EditSample],
    tokenizer: PreTrainedTokenizerBase,
    *,
    encode: Callable[[Sequence[str]], Sequence[Ids]] = lambda texts: [()] * len(texts),
    fact_ids: Callable[[str], Ids] | None = None,
) -> list[Example]:
    """Examples of all usable samples, tokenised for the language model.

    `encode` gives ids of a sentence encoder that is trained too; `fact_ids` those of a fact, by
    default the same.
    """

    def example(sample: EditSample) -> Example:
        asked: list[EditRequest | Probe] = [sample.request, *sample.generality, *sample.locality]
        fact = statement(sample.request)
        encoded = encode([fact, *(a.prompt for a in asked)])
        questions = [
            Question(
                a.prompt,
                ids,
                prompt_ids(tokenizer, a.prompt),
                target_ids(tokenizer, a.target, a.prompt),
            )
            for a, ids in zip(asked, encoded[1:], strict=True)
        ]
        border = 1 + len(sample.generality)
        return Example(
            fact=fact,
            fact_ids=encoded[0] if fact_ids is None else fact_ids(fact),
            reliability=questions[0],
            generality=by_kind(sample.generality, questions[1:border]),
            locality=by_kind(sample.locality, questions[border:]),
        )

    return [example(sample) for sample in usable(samples)]


def usable(samples: Sequence[EditSample]) -> list[EditSample]:
    """Samples with at least one generality and one locality probe; the others cannot train."""
    return [sample for sample in samples if sample.generality and sample.locality]


def split_pools(
    samples: Mapping[str, Sequence[EditSample]],
    tokenise: Callable[[Sequence[EditSample]], Sequence[T]],
    held_out: int,
    seed: int,
) -> tuple[Pools[T], Pools[T]]:
    """(training, held-out) examples by data set."""
    training, rest = {}, {}
    for name, rows in samples.items():
        training[name], rest[name] = split_held_out(tokenise(rows), held_out, seed)
    return training, rest


def split_held_out(examples: Sequence[T], count: int, seed: int) -> tuple[list[T], list[T]]:
    """(training, held-out) parts; at most a tenth of the examples is held out.

    Raises:
        ValueError: too few examples to hold one out.
    """
    count = min(count, len(examples) // 10)
    if count == 0:
        raise ValueError(
            f"Training needs at least 10 samples with generality and locality probes in each data "
            f"set, got {len(examples)}."
        )
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed)).tolist()
    return [examples[i] for i in order[count:]], [examples[i] for i in order[:count]]


class PoolSampler(Generic[T]):
    """Draws examples without end, from a private generator whose state can be saved.

    One data set is passed through in permutations, the last batch of a pass completed from the
    next; of several, each batch (or row: `mix`) picks one uniformly and its examples with
    replacement.
    """

    def __init__(self, pools: Mapping[str, Sequence[T]], seed: int, mix: Mix = "rows") -> None:
        self.generator = torch.Generator().manual_seed(seed)  # shared with subclasses' own draws
        self._pools = list(pools.values())
        self._mix = mix
        self._order = torch.empty(0, dtype=torch.long)  # the rest of the permutation

    def draw(self, count: int) -> list[T]:
        """The next `count` examples."""
        if len(self._pools) == 1:
            return [self._pools[0][i] for i in self._next_of_order(count)]
        draws = count if self._mix == "rows" else 1
        sets = torch.randint(len(self._pools), (draws,), generator=self.generator)
        pools = [self._pools[i] for i in sets.expand(count).tolist()]
        chances = torch.rand(count, generator=self.generator).tolist()
        return [pool[index_at(u, len(pool))] for pool, u in zip(pools, chances, strict=True)]

    def _next_of_order(self, count: int) -> list[int]:
        while len(self._order) < count:
            fresh = torch.randperm(len(self._pools[0]), generator=self.generator)
            self._order = torch.cat([self._order, fresh])
        taken, self._order = self._order[:count], self._order[count:]
        return [int(i) for i in taken]

    def state_dict(self) -> dict[str, Tensor]:
        """Generator state and the rest of the permutation."""
        return {"generator": self.generator.get_state(), "order": self._order.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.generator.set_state(state["generator"])
        self._order = state["order"].clone()


@dataclass(frozen=True)
class Drawn:
    """An example with the probes of one training step."""

    example: Example
    generality: Question
    locality: Question


class ProbeSampler(PoolSampler[Example]):
    """Draws examples, and their probes uniformly over types, then inside the type."""

    def draw_probes(self, count: int) -> list[Drawn]:
        """The next `count` examples, with probes."""
        return self.probes(self.draw(count))

    def probes(self, examples: Sequence[Example]) -> list[Drawn]:
        """These examples with probes drawn."""
        chances = torch.rand(len(examples), 4, generator=self.generator).tolist()
        return [
            Drawn(e, pick(e.generality, *chance[0:2]), pick(e.locality, *chance[2:4]))
            for e, chance in zip(examples, chances, strict=True)
        ]


def by_kind(probes: Sequence[Probe], rows: Sequence[T]) -> tuple[tuple[T, ...], ...]:
    """One row a probe, grouped by the probes' types."""
    groups: dict[str, list[T]] = {}
    for probe, row in zip(probes, rows, strict=True):
        groups.setdefault(probe.kind, []).append(row)
    return tuple(map(tuple, groups.values()))


def pick(groups: Sequence[Sequence[T]], which_group: float, which_row: float) -> T:
    """A row, by two uniform draws from [0, 1): first the group, then the row inside it."""
    group = groups[index_at(which_group, len(groups))]
    return group[index_at(which_row, len(group))]


def index_at(chance: float, count: int) -> int:
    """Index below `count` for a uniform draw from [0, 1)."""
    return int(chance * count)
