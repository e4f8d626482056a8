"""MALMEN's weight shifts: what is cached of the edits, the aggregation, and both training phases.

No graph leads through the language model into the network: phase one takes the gradient of the
outer loss with respect to each shift, phase two carries it through the normal equation in closed
form and then into the networks, a chunk of tokens at a time (MALMEN, section 4.3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from editors.parts.hypernetwork.examples import Row, token_batch
from editors.parts.hypernetwork.network import Hypernetwork
from editors.parts.hypernetwork.projections import Projection, gradient_factors, group_means
from editors.parts.hypernetwork.shifts import DenseShift
from editors.parts.language_model import LanguageModel
from editors.parts.normal_equation import shift_gradients, shift_of

_CHUNK = 1024  # tokens in one pass through a network (released configurations)


class NormalNetwork(nn.Module):
    """A hypernetwork with one learned regulariser lambda a projection."""

    def __init__(self, editors: Hypernetwork) -> None:
        super().__init__()
        self.editors = editors
        self.log_lambdas = nn.Parameter(torch.zeros(len(editors.projections)))

    @property
    def projections(self) -> tuple[Projection, ...]:
        """What is edited."""
        return self.editors.projections

    def value_differences(self, number: int, keys: Tensor, gradients: Tensor) -> Tensor:
        """Wanted changes [N, d_out] of the values at keys [N, d_in]: -rate (k . k~) g~."""
        projection = self.projections[number]
        editor = self.editors.network_of(projection)
        pseudo_keys, pseudo_gradients = editor(keys, gradients, projection.index)
        weights = (keys * pseudo_keys).sum(-1, keepdim=True)
        differences: Tensor = -self.editors.edit_rates[number] * weights * pseudo_gradients
        return differences


@dataclass(frozen=True)
class Cache:
    """What the edits of b systems leave at one projection: one row an answer token."""

    keys: Tensor  # [N, d_in]
    gradients: Tensor  # [N, d_out]
    owner: Tensor  # [N] system of each row
    systems: int

    def by_system(self, rows: Tensor) -> Tensor:
        """Rows [N, d] as [b, n, d], short systems filled with zeros."""
        positions, most = self._positions
        padded = rows.new_zeros(self.systems, most, rows.shape[-1])
        padded[self.owner, positions] = rows
        return padded

    def from_systems(self, padded: Tensor) -> Tensor:
        """The rows [N, d] that `by_system` laid out."""
        return padded[self.owner, self._positions[0]]

    @cached_property
    def _positions(self) -> tuple[Tensor, int]:
        """Place of each row among those of its system, and the size of the largest system."""
        of_system = self.owner[:, None] == torch.arange(self.systems, device=self.owner.device)
        places = of_system.cumsum(0).gather(1, self.owner[:, None])[:, 0] - 1
        return places, int(of_system.sum(0).max())


def cached(
    lm: LanguageModel,
    network: NormalNetwork,
    micro_batches: Sequence[Sequence[Row]],
    systems: int,
) -> dict[str, Cache]:
    """Keys and gradients at the answers, by path.

    A micro-batch holds rows of every system, in order. Each micro-batch of a system is one loss,
    the mean over its answer tokens. In training mode the running statistics take in the rows.
    """
    found: dict[str, list[Cache]] = {projection.path: [] for projection in network.projections}
    for rows in micro_batches:
        batch = token_batch(lm, rows)
        weights = group_means(batch, systems)
        factors = gradient_factors(lm, network.projections, batch, weights)
        at = batch.scored_positions
        for projection in network.projections:
            factor = factors[projection.path]
            keys, gradients = factor.inputs[at], factor.gradients[at]
            if network.training:
                network.editors.network_of(projection).observe(keys, gradients)
            owner = at[0] // (len(batch) // systems)
            found[projection.path].append(Cache(keys, gradients, owner, systems))
    return {path: _joined(caches) for path, caches in found.items()}


def _joined(caches: Sequence[Cache]) -> Cache:
    return Cache(
        torch.cat([cache.keys for cache in caches]),
        torch.cat([cache.gradients for cache in caches]),
        torch.cat([cache.owner for cache in caches]),
        caches[0].systems,
    )


@torch.no_grad()
def all_differences(network: NormalNetwork, number: int, cache: Cache) -> Tensor:
    """Value differences [N, d_out] of a whole cache."""
    parts = [
        network.value_differences(number, cache.keys[chunk], cache.gradients[chunk])
        for chunk in _chunks(len(cache.keys))
    ]
    return torch.cat(parts)


@torch.no_grad()
def normal_shifts(network: NormalNetwork, caches: Mapping[str, Cache]) -> dict[str, DenseShift]:
    """Shifts of all projections, by path."""
    shifts = {}
    for number, projection in enumerate(network.projections):
        cache = caches[projection.path]
        values = shift_of(
            cache.by_system(cache.keys),
            cache.by_system(all_differences(network, number, cache)),
            network.log_lambdas[number].exp(),
        )
        shifts[projection.path] = DenseShift(values)
    return shifts


@torch.enable_grad()
def backward_into_network(
    network: NormalNetwork, caches: Mapping[str, Cache], upstream: Mapping[str, Tensor]
) -> None:
    """Phase two: add to the network's gradients, from those of the shifts [b, d_in, d_out]."""
    for number, projection in enumerate(network.projections):
        cache = caches[projection.path]
        by_difference, by_log = shift_gradients(
            cache.by_system(cache.keys),
            cache.by_system(all_differences(network, number, cache)),
            network.log_lambdas[number].detach().exp(),
            upstream[projection.path],
        )
        wanted = cache.from_systems(by_difference)
        (network.log_lambdas[number] * by_log).backward()
        for chunk in _chunks(len(cache.keys)):
            made = network.value_differences(number, cache.keys[chunk], cache.gradients[chunk])
            (made * wanted[chunk]).sum().backward()


def _chunks(rows: int) -> Iterator[slice]:
    for start in range(0, rows, _CHUNK):
        yield slice(start, start + _CHUNK)
