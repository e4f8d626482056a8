"""The facts that were edited, and which of them a question is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from editors.parts.growing_rows import GrowingRows
from editors.parts.retrieving import Explanation, nearest

NONE = -1  # no fact is near enough
ROUNDING = 1e-6  # of a cosine in single precision


class FactMemory:
    """Facts with unit key vectors [N, H]; rows are appended and never changed."""

    def __init__(self, width: int, device: torch.device) -> None:
        self.facts: list[str] = []
        self._width, self._device = width, device
        self._rows = GrowingRows()

    def __len__(self) -> int:
        return len(self.facts)

    @property
    def keys(self) -> Tensor:
        """View [N, H] of all keys."""
        if not self.facts:
            return torch.empty(0, self._width, device=self._device)
        return self._rows.rows

    def append(self, facts: Sequence[str], keys: Tensor) -> None:
        """Store facts with their keys [k, H], in order."""
        if len(facts) != len(keys):
            raise ValueError(f"wanted one key for each of {len(facts)} facts, got {len(keys)}.")
        self._rows.extend(keys.to(self._device))
        self.facts += facts

    def cosines(self, queries: Tensor) -> Tensor:
        """Cosines [B, N] of queries [B, H] and keys."""
        return queries @ self.keys.T

    def nearest(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """(row [B], cosine [B]) of the key nearest to each query [B, H]; of equals the newest.

        Equal is what differs by rounding: how a product is rounded depends on its shape.
        """
        scores = self.cosines(queries)
        best = scores.amax(dim=1)
        index = torch.arange(len(self), device=scores.device)
        return torch.where(scores >= best[:, None] - ROUNDING, index, NONE).amax(dim=1), best

    def retrieve(self, queries: Tensor, threshold: float | None) -> Tensor:
        """Row [B] of the nearest key, `NONE` where its cosine is not above the threshold."""
        if not len(self):
            return torch.full((len(queries),), NONE, device=queries.device)
        row, cosine = self.nearest(queries)
        return row if threshold is None else torch.where(cosine > threshold, row, NONE)

    def explain(
        self, query: Tensor, threshold: float | None, row: int, texts: Sequence[str]
    ) -> Explanation:
        """What a query [1, H] finds among facts told as `texts`, of which `row` is used."""
        used = None if row == NONE else row
        scores = self.cosines(query)[0]
        return Explanation(
            measure="cosine",
            candidates=nearest(scores, texts, also=used),
            limit=threshold,
            limit_is="threshold",
            used=used,
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Keys, and the facts as UTF-8 bytes with their lengths [N]."""
        encoded = [fact.encode() for fact in self.facts]
        return {
            "keys": self.keys.clone(),
            "facts": torch.tensor(list(b"".join(encoded)), dtype=torch.uint8),
            "lengths": torch.tensor([len(fact) for fact in encoded], dtype=torch.long),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replace all rows by those of `state_dict`."""
        parts = state["facts"].split(state["lengths"].tolist())
        self.facts, self._rows = [], GrowingRows()
        self.append([bytes(part.tolist()).decode() for part in parts], state["keys"])
