"""Thresholds of the gate, chosen on training edits that trained nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editors.parts.rase.gate import Gate

# Candidates of each threshold, at most; those that are tried lie at quantiles of what was seen.
_MAXIMA, _DIFFERENCES, _SPREADS = 201, 21, 11
_BEYOND = 0.01  # how far the outermost ones lie beyond all values
_NEVER = 2.0  # no two cosines differ by more: switches the second rule off


@dataclass(frozen=True)
class Asked:
    """Queries of one kind to one memory, and what the ranking gave them."""

    top: Tensor  # [B, K], best scores in descending order
    right: Tensor  # [B], whether the best fact is the query's own; False for unrelated queries
    related: bool  # should the gate fire?
    weight: float = 1.0

    def rate(self, gate: Gate) -> float:
        """Share of queries that the gate treats as it should."""
        return float(self._treated(gate.fires(self.top)).double().mean())

    def score(self, fires: Tensor) -> Tensor:
        """Weighted share [G] of rightly treated queries, for decisions [B, G] of G gates."""
        treated = self._treated(fires.T).double()  # [G, B]
        return self.weight * treated.mean(dim=-1)

    def _treated(self, fires: Tensor) -> Tensor:
        return fires & self.right if self.related else ~fires


def calibrated_gate(asked: Sequence[Asked]) -> Gate:
    """The gate that treats most queries rightly, each kind by its weight.

    The rule on the best score comes first and alone, because a memory of one fact has no other;
    the second rule is added where it helps on top.
    """
    maximum = _best_maximum(asked)
    alone = Gate(maximum=maximum, difference=_NEVER)
    gates = [alone]
    if min(one.top.shape[1] for one in asked) > 1:
        apart = torch.cat([one.top[:, 0] - one.top[:, 1] for one in asked])
        spread = torch.cat([one.top.std(dim=1, correction=0) for one in asked])
        gates += [
            Gate(maximum=maximum, difference=difference, spread=deviation)
            for difference in _candidates(apart, _DIFFERENCES).tolist()
            for deviation in _candidates(spread, _SPREADS).tolist()
        ]
    fires = [torch.stack([gate.fires(one.top) for gate in gates], dim=1) for one in asked]
    scores = _total(asked, fires)
    return gates[int(scores.argmax())]  # the first of several: the second rule off


def _best_maximum(asked: Sequence[Asked]) -> float:
    """The middle one of the thresholds that do best."""
    candidates = _candidates(torch.cat([one.top[:, 0] for one in asked]), _MAXIMA)
    scores = _total(asked, [one.top[:, :1] > candidates for one in asked])
    best = candidates[scores == scores.max()]
    return float(best[len(best) // 2])


def _total(asked: Sequence[Asked], fires: Sequence[Tensor]) -> Tensor:
    return torch.stack([one.score(f) for one, f in zip(asked, fires, strict=True)]).sum(dim=0)


def _candidates(values: Tensor, count: int) -> Tensor:
    """Ascending thresholds, at most `count`: between neighbouring values, below and above all."""
    distinct = values.unique()
    middles = (distinct[1:] + distinct[:-1]) / 2
    thresholds = torch.cat([distinct[:1] - _BEYOND, middles, distinct[-1:] + _BEYOND])
    chosen = torch.linspace(0, len(thresholds) - 1, min(count, len(thresholds)))
    return thresholds[chosen.round().long().to(thresholds.device)]
