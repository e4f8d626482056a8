"""The knowledge retrieval repository: keys and continuous prompts that grow with the edits."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from editors.parts.growing_rows import GrowingRows


class PromptRepository:
    """n + 1 rows of a key [d_r] and a continuous prompt [l, d]; row 0 is the knowledge sentinel.

    Rows are appended in amortised constant time and never changed (RECIPE section 4.1). A query
    uses the best row only if it beats the sentinel strictly, or a threshold in the sentinel's
    place.
    """

    def __init__(
        self,
        sentinel: Tensor,
        *,
        prompt_length: int,
        hidden_size: int,
        threshold: float | None = None,
    ) -> None:
        """Start with the sentinel's key [1, d_r] and an all-zero prompt."""
        self.threshold = threshold
        self._keys = GrowingRows()
        self._prompts = GrowingRows()
        self.append(sentinel, sentinel.new_zeros(1, prompt_length, hidden_size))

    def __len__(self) -> int:
        """Number of stored edits; the sentinel does not count."""
        return len(self._keys) - 1

    @property
    def keys(self) -> Tensor:
        """View [n + 1, d_r] of all keys, the sentinel first."""
        return self._keys.rows

    @property
    def prompts(self) -> Tensor:
        """View [n + 1, l, d] of all prompts; the sentinel's is zero."""
        return self._prompts.rows

    def append(self, keys: Tensor, prompts: Tensor) -> None:
        """Store rows of keys [k, d_r] and prompts [k, l, d], in order."""
        for key, prompt in zip(keys, prompts, strict=True):
            self._keys.append(key)
            self._prompts.append(prompt)

    def retrieve(self, queries: Tensor) -> Tensor:
        """Row [B] that each query [B, d_r] uses; 0 where nothing beats the sentinel.

        Of several equal best rows the oldest is taken.
        """
        scores = queries @ self.keys.T
        if self.threshold is not None:
            scores[:, 0] = self.threshold
        best = scores.amax(dim=1, keepdim=True)
        index = torch.arange(scores.shape[1], device=scores.device)
        oldest = torch.where(scores == best, index, scores.shape[1]).amin(dim=1)
        return torch.where(best[:, 0] > scores[:, 0], oldest, 0)

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all rows, the sentinel's included."""
        return {"keys": self.keys.clone(), "prompts": self.prompts.clone()}

    @classmethod
    def from_state_dict(
        cls, state: Mapping[str, Tensor], threshold: float | None = None
    ) -> PromptRepository:
        """The repository that `state_dict` described."""
        keys, prompts = state["keys"], state["prompts"]
        length, hidden = prompts.shape[1:]
        repository = cls(keys[:1], prompt_length=length, hidden_size=hidden, threshold=threshold)
        repository.append(keys[1:], prompts[1:])
        return repository
