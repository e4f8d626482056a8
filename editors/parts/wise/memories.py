"""The side memories of a stream: the one in progress, finished ones, and merges of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from editors.parts.retrieving import Explanation, nearest
from editors.parts.wise.hparams import WiseHparams

# What a merge after the first gives to the new memories together, and to the earlier merge.
SHARES = (0.4, 0.6)


@dataclass(frozen=True)
class SideTrained:
    """A memory after one more edit."""

    weight: Tensor  # [d_out, d_in]
    activation: float  # mean over the fact's rows, before the last step
    target_losses: tuple[float, ...]  # of every forward
    margin_losses: tuple[float, ...]
    first_gradient: Tensor | None  # masked; None where no step was taken


@dataclass
class Memories:
    """Weights [d_out, d_in] beside the original one, with the least activation of their edits."""

    original: Tensor
    hparams: WiseHparams
    count: int = 0  # edits so far
    side: Tensor = field(init=False)  # in progress
    least: float = math.inf  # of `side`; in the mode `merge` of all edits
    finished: list[Tensor] = field(default_factory=list)
    finished_least: list[float] = field(default_factory=list)  # only in the mode `retrieve`
    joined: Tensor | None = None  # the merge of the mode `merge`

    def __post_init__(self) -> None:
        self.side = self.original

    @property
    def shard(self) -> int:
        """Number of the memory in progress."""
        return self.count // self.hparams.save_freq

    @property
    def candidates(self) -> list[Tensor]:
        """Weights that may answer, in the order in which `routes` is given their distances."""
        if self.hparams.mode == "retrieve":
            return [self.side, *self.finished]
        return [self.side] if self.joined is None else [self.side, self.joined]

    def take(self, trained: SideTrained) -> None:
        """Include an edit; finish and merge memories where it is time."""
        self.side = trained.weight
        self.least = min(self.least, trained.activation)
        self.count += 1
        if self.count % self.hparams.save_freq == 0:
            self.finished.append(self.side)
            self.side = self.original
            if self.hparams.mode == "retrieve":
                self.finished_least.append(self.least)
                self.least = math.inf
        if self.count % self.hparams.merge_freq == 0:
            self._merge()

    def routes(self, distances: Tensor) -> Tensor:
        """Which candidate [B] answers each row, by distances [C, B]; -1 for the original weight."""
        if self.hparams.mode == "merge":
            return self._merged_routes(distances)
        ratio = self.hparams.act_ratio
        best = distances[0]
        chosen = torch.where(best >= self.least * ratio, 0, -1)
        for number, least in enumerate(self.finished_least, start=1):
            better = (distances[number] > best) & (distances[number] > least * ratio)
            chosen = torch.where(better, number, chosen)
            best = torch.where(better, distances[number], best)
        return chosen

    def explain(self, distances: Tensor) -> list[Explanation]:
        """Which candidate answers each row, and why, by distances [C, B]."""
        retrieving = self.hparams.mode == "retrieve"
        least = [self.least, *self.finished_least] if retrieving else [self.least] * len(distances)
        names = [f"memory {number}" for number in range(1, len(distances))]
        explanations = []
        for scores, route in zip(distances.T, self.routes(distances).tolist(), strict=True):
            used = None if route < 0 else route
            shown = nearest(scores, ["memory in progress", *names], also=used)
            explanations.append(
                Explanation(
                    measure="distance moved",
                    candidates=shown,
                    limit=least[shown[0].row if used is None else used] * self.hparams.act_ratio,
                    limit_is="least activation",
                    used=used,
                )
            )
        return explanations

    def state_dict(self) -> dict[str, Tensor]:
        """Everything but the original weight."""
        state = {"count": torch.tensor(self.count)}
        if not self.count:
            return state
        state |= {"side": _copied(self.side), "least": _numbers([self.least])}
        state |= {"finished_least": _numbers(self.finished_least)}
        state |= {f"finished.{i}": _copied(weight) for i, weight in enumerate(self.finished)}
        return state | ({} if self.joined is None else {"joined": _copied(self.joined)})

    @classmethod
    def from_state(
        cls, state: Mapping[str, Tensor], original: Tensor, hparams: WiseHparams
    ) -> Memories:
        """The memories that `state_dict` described."""
        memories = cls(original, hparams, int(state["count"]))
        if not memories.count:
            return memories
        memories.side = state["side"].to(original)
        memories.least = float(state["least"])
        memories.finished_least = state["finished_least"].tolist()
        names = [f"finished.{i}" for i in range(len(state))]
        memories.finished = [state[name].to(original) for name in names if name in state]
        memories.joined = state["joined"].to(original) if "joined" in state else None
        return memories

    def _merged_routes(self, distances: Tensor) -> Tensor:
        side = distances[0]
        joined = distances[1] if len(distances) > 1 else torch.zeros_like(side)
        limit = self.least * self.hparams.act_ratio
        chosen = torch.where(joined > side, len(distances) - 1, 0)
        return torch.where((side < limit) & (joined < limit), -1, chosen)

    def _merge(self) -> None:
        hparams = self.hparams
        if hparams.mode == "retrieve":
            number = hparams.merge_freq // hparams.save_freq
            last, least = self.finished[-number:], self.finished_least[-number:]
            joined = merged(self.original, last, [1.0] * len(last), hparams.density)
            self.finished[-number:], self.finished_least[-number:] = [joined], [min(least)]
            return
        weights, shares = self.finished, [1.0] * len(self.finished)
        if self.joined is not None:
            new, earlier = SHARES
            weights, shares = [*weights, self.joined], [new / len(weights)] * len(weights)
            shares.append(earlier)
        self.joined = merged(self.original, weights, shares, hparams.density)
        self.finished = []


def _numbers(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _copied(weight: Tensor) -> Tensor:
    return weight.clone(memory_format=torch.contiguous_format)


def merged(
    original: Tensor, weights: Sequence[Tensor], shares: Sequence[float], density: float
) -> Tensor:
    """TIES merging of weights that started from the same one (Yadav et al., NeurIPS 2023).

    Of each change the largest entries count; each entry takes the sign of the weighted sum of
    these, and the weighted mean of those that agree with it.
    """
    changes = [_largest(weight - original, density) for weight in weights]
    total = sum((s * c for s, c in zip(shares, changes, strict=True)), torch.zeros_like(original))
    sign = torch.where(total >= 0, 1.0, -1.0).to(original)
    above, below = torch.zeros_like(original), torch.zeros_like(original)
    for share, change in zip(shares, changes, strict=True):
        agrees = change.sign() == sign
        above += share * change * agrees
        below += share * agrees
    return original + above / torch.where(below == 0, 1.0, below)


def _largest(change: Tensor, density: float) -> Tensor:
    """The change with all but its `density` largest entries at zero."""
    flat = change.flatten()
    largest = flat.abs().topk(int(density * len(flat))).indices
    return torch.zeros_like(flat).index_copy(0, largest, flat[largest]).view_as(change)
