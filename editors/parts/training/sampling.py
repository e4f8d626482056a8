"""What a training step sees: held-out splits, draws of examples, draws of probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, Literal, TypeVar

import torch
from torch import Tensor

from editors.base import Probe

T = TypeVar("T")
Mix = Literal["batch", "rows"]


class PoolSampler(Generic[T]):
    """Draws examples without end, from a generator that it shares with its caller.

    One data set is passed through in permutations, the last batch of a pass completed from the
    next; of several, each batch (or row: `mix`) picks one uniformly and its examples with
    replacement.
    """

    def __init__(
        self, pools: Mapping[str, Sequence[T]], generator: torch.Generator, mix: Mix
    ) -> None:
        self._pools = list(pools.values())
        self._generator = generator
        self._mix = mix
        self._order = torch.empty(0, dtype=torch.long)  # what is left of the permutation

    def draw(self, count: int) -> list[T]:
        """The next `count` examples."""
        if len(self._pools) == 1:
            return [self._pools[0][i] for i in self._next_of_order(count)]
        draws = count if self._mix == "rows" else 1
        sets = torch.randint(len(self._pools), (draws,), generator=self._generator)
        pools = [self._pools[i] for i in sets.expand(count).tolist()]
        chances = torch.rand(count, generator=self._generator).tolist()
        return [pool[index_at(u, len(pool))] for pool, u in zip(pools, chances, strict=True)]

    def _next_of_order(self, count: int) -> list[int]:
        while len(self._order) < count:
            fresh = torch.randperm(len(self._pools[0]), generator=self._generator)
            self._order = torch.cat([self._order, fresh])
        taken, self._order = self._order[:count], self._order[count:]
        return [int(i) for i in taken]

    def state_dict(self) -> dict[str, Tensor]:
        """Generator state and the rest of the permutation."""
        return {"generator": self._generator.get_state(), "order": self._order.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue where `state_dict` was taken."""
        self._generator.set_state(state["generator"])
        self._order = state["order"].clone()


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


def by_kind(probes: Sequence[Probe], rows: Sequence[T]) -> tuple[tuple[T, ...], ...]:
    """One row a probe, grouped by the probes' types, because drawing is uniform over types."""
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
