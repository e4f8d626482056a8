"""The knowledge retrieval repository: keys and continuous prompts that grow with the edits."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from editors.parts.growing_rows import GrowingRows
from editors.parts.inner_product_index import InnerProductIndex


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
        index: InnerProductIndex | None = None,
    ) -> None:
        """Start with the sentinel's key [1, d_r] and an all-zero prompt.

        With an index, queries are answered approximately as soon as it is worth while.
        """
        self.threshold = threshold
        self._index = index
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

    @property
    def allocated(self) -> int:
        """Bytes of the buffers, spare rows included."""
        return self._keys.allocated + self._prompts.allocated

    def append(self, keys: Tensor, prompts: Tensor) -> None:
        """Store rows of keys [k, d_r] and prompts [k, l, d], in order."""
        if len(keys) != len(prompts):
            raise ValueError(f"wanted one prompt for each of {len(keys)} keys, got {len(prompts)}.")
        self._keys.extend(keys)
        self._prompts.extend(prompts)

    def retrieve(self, queries: Tensor) -> Tensor:
        """Row [B] that each query [B, d_r] uses; 0 where nothing beats the sentinel.

        Of several equal best rows the oldest is taken.
        """
        if self._index is not None and len(self) >= self._index.smallest:
            return self._indexed(queries, self._index)
        scores = self.scores(queries)
        best, rows = scores.max(dim=1)  # the first of several
        return torch.where(best > scores[:, 0], rows, 0)

    def scores(self, queries: Tensor) -> Tensor:
        """What each row gets of each query [B, n + 1]; the first is what others must beat."""
        scores = queries @ self.keys.T
        if self.threshold is not None:
            scores[:, 0] = self.threshold
        return scores

    def _indexed(self, queries: Tensor, index: InnerProductIndex) -> Tensor:
        """As `retrieve`, among the rows that the index finds; their scores are exact."""
        rows = index.nearest(queries, self.keys[1:]) + 1
        scores = (queries * self.keys[rows]).sum(dim=1)
        least = queries @ self.keys[0] if self.threshold is None else self.threshold
        return torch.where(scores > least, rows, 0)

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all rows, the sentinel's included."""
        return {"keys": self.keys.clone(), "prompts": self.prompts.clone()}

    @classmethod
    def from_state_dict(
        cls,
        state: Mapping[str, Tensor],
        threshold: float | None = None,
        index: InnerProductIndex | None = None,
    ) -> PromptRepository:
        """The repository that `state_dict` described."""
        keys, prompts = state["keys"], state["prompts"]
        length, hidden = prompts.shape[1:]
        repository = cls(
            keys[:1], prompt_length=length, hidden_size=hidden, threshold=threshold, index=index
        )
        repository.append(keys[1:], prompts[1:])
        return repository
