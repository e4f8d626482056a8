"""GRACE's codebook: keys with deferral radii, values and the labels they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editors.parts.growing_rows import GrowingRows
from editors.parts.retrieving import Explanation, nearest

IGNORED = -100  # the label of prompt tokens (Hugging Face losses)


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

    def __init__(self) -> None:
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

    def append(self, key: Tensor, label: TargetLabel, value: Tensor, radius: Tensor) -> None:
        """Add an entry."""
        self._keys.append(key)
        self._values.append(value)
        self._radii.append(radius)
        self.labels.append(label)

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
        """The entries nearest to a query [1, m], shown as `texts`."""
        distances = self._distances(query)[0]
        index, hit = (int(result) for result in self.retrieve(query))
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
        self._keys.extend(state["keys"].to(device))
        self._values.extend(state["values"].to(device))
        self._radii.extend(state["radii"].to(device))
        targets = state["targets"].split(state["target_lengths"].tolist())
        self.labels = [
            TargetLabel(int(length), tuple(target.tolist()))
            for length, target in zip(state["prompt_lengths"], targets, strict=True)
        ]
