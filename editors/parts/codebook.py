"""GRACE's codebook: keys with deferral radii, values and the labels they answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from editors.parts.growing_rows import GrowingRows
from editors.parts.retrieving import Explanation, nearest

# When two edits count as the same fact. `token_ids`: equal targets (ours). `mean`: equal means of
# the label tensor, prompt mask included (original). `reversed_mean`: the same, but key i is given
# the label of key N - 1 - i (EasyEdit, which prepends labels while it appends keys).
LabelMatching = Literal["token_ids", "mean", "reversed_mean"]
# What an insertion did; `rewrite` only happens with `token_ids`.
InsertEvent = Literal["init", "new", "split", "expand", "reuse", "rewrite"]

IGNORED = -100  # the label of prompt tokens (Hugging Face losses)
SPLIT_GAP = 1e-5  # by which a split leaves the older radius smaller (original)
MARGIN_ULPS = 16  # ours: well above what matrix products of other shapes were seen to differ by


@dataclass(frozen=True)
class TargetLabel:
    """The label tensor of an edit: `prompt_length` ignored places, then the target."""

    prompt_length: int
    target: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Mean of the label tensor in float32, as the original compares it."""
        values = [IGNORED] * self.prompt_length + list(self.target)
        return float(torch.tensor(values, dtype=torch.float32).mean())


class Codebook:
    """N keys [m] with a radius, a value [d] and a label each, in order of insertion."""

    def __init__(self, *, radius: float, matching: LabelMatching, relative: bool = False) -> None:
        """Start empty; new keys get `radius` unless they split an older one.

        A `relative` radius is in units of the new key's norm.
        """
        self._radius, self._relative = radius, relative
        self._matching = matching
        self.clear()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def keys(self) -> Tensor:
        """View [N, m]."""
        return self._keys.rows

    @property
    def values(self) -> Tensor:
        """View [N, d]."""
        return self._values.rows

    @property
    def radii(self) -> Tensor:
        """View [N]."""
        return self._radii.rows

    def clear(self) -> None:
        """Forget everything."""
        self._keys, self._values, self._radii = GrowingRows(), GrowingRows(), GrowingRows()
        self.labels: list[TargetLabel] = []

    def nearest(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Index [B] of the nearest key to each query [B, m], the oldest of several, and distance.

        Distances are summed without matrix products, whose rounding would hide small ones and
        depend on the number of queries.
        """
        distances = self._distances(queries)
        index = distances.argmin(dim=1)
        return index, distances.gather(1, index[:, None])[:, 0]

    def retrieve(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Index [B] of the nearest key, and whether [B] the query lies in its deferral radius."""
        index, distance = self.nearest(queries)
        return index, distance <= self.radii[index]

    def explain(self, query: Tensor, texts: Sequence[str]) -> Explanation:
        """What a query [1, m] finds among entries told as `texts`."""
        distances = self._distances(query)[0]
        index, hit = (int(one) for one in self.retrieve(query))
        return Explanation(
            measure="distance",
            candidates=nearest(distances, texts, largest=False),
            limit=float(self.radii[index]),
            limit_is="radius",
            used=index if hit else None,
        )

    def _distances(self, queries: Tensor) -> Tensor:
        """Euclidean distances [B, N] of queries [B, m] and keys."""
        return torch.cdist(
            queries.to(self.keys), self.keys, compute_mode="donot_use_mm_for_euclid_dist"
        )

    def insert(
        self, query: Tensor, label: TargetLabel, initial: Callable[[], Tensor]
    ) -> InsertEvent:
        """Make room for an edit whose query is [m]; its value is trained afterwards.

        `initial` gives the value of a new key and is only called for one.
        """
        first = self._radius * query.norm() if self._relative else query.new_tensor(self._radius)
        if not len(self):
            self._append(query, label, initial(), first)
            return "init"
        index, distance = (result[0] for result in self.nearest(query[None]))
        radius = self.radii[index]
        if distance > first + radius:
            self._append(query, label, initial(), first)
            return "new"
        if not self._same(int(index), label):
            return self._split(int(index), distance, query, label, initial)
        if distance > radius:
            self.radii[index] = distance + _rounding_margin(query)
            return "expand"
        return "reuse"

    def _split(
        self,
        index: int,
        distance: Tensor,
        query: Tensor,
        label: TargetLabel,
        initial: Callable[[], Tensor],
    ) -> InsertEvent:
        """Divide the distance to a key of another label between the two.

        A query on top of the key cannot be told from it: the original gives the old key a negative
        radius and a new one that is never the nearest, so both edits are lost. With `token_ids`
        the newer edit takes the key over instead.
        """
        older = distance / 2 - SPLIT_GAP
        if self._matching == "token_ids" and older < 0:
            self.labels[index] = label
            self.values[index] = initial()
            return "rewrite"
        self._append(query, label, initial(), distance / 2)
        self.radii[index] = older
        return "split"

    def _same(self, index: int, label: TargetLabel) -> bool:
        if self._matching == "token_ids":
            return self.labels[index].target == label.target
        if self._matching == "reversed_mean":
            index = len(self) - 1 - index
        return self.labels[index].mean == label.mean

    def _append(self, key: Tensor, label: TargetLabel, value: Tensor, radius: Tensor) -> None:
        self._keys.append(key)
        self._values.append(value)
        self._radii.append(radius)
        self.labels.append(label)

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all entries; nothing if there are none."""
        if not len(self):
            return {}
        return {
            "keys": self.keys.clone(),
            "values": self.values.clone(),
            "radii": self.radii.clone(),
            "prompt_lengths": torch.tensor([label.prompt_length for label in self.labels]),
            "target_lengths": torch.tensor([len(label.target) for label in self.labels]),
            "targets": torch.tensor([t for label in self.labels for t in label.target]),
        }

    def load_state_dict(self, state: Mapping[str, Tensor], *, device: torch.device) -> None:
        """Replace all entries by those of `state_dict`."""
        self.clear()
        if "keys" not in state:
            return
        targets = state["targets"].split(state["target_lengths"].tolist())
        labels = [
            TargetLabel(int(length), tuple(target.tolist()))
            for length, target in zip(state["prompt_lengths"], targets, strict=True)
        ]
        columns = (state[name].to(device) for name in ("keys", "values", "radii"))
        for key, value, radius, label in zip(*columns, labels, strict=True):
            self._append(key, label, value, radius)


def _rounding_margin(query: Tensor) -> Tensor:
    """What an expanded radius is given beyond the distance, so that its own query stays inside.

    In a batch of another shape the same query differs by some units in the last place.
    """
    margin: Tensor = query.norm() * (MARGIN_ULPS * torch.finfo(query.dtype).eps)
    return margin
