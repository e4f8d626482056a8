"""The knowledge retrieval repository: keys and continuous prompts that grow with the edits.

Searching it approximately, with FAISS, is ours: the optional package is faiss-cpu, and on a GPU the
rows are searched on the CPU.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from editors.parts.growing_rows import GrowingRows

_PROBED = 32  # cells that a query looks into, of about the square root of the number of rows
_SAMPLED = 64  # rows for each cell that its centre is computed from
_ROUNDS = 10  # of k-means


class PromptRepository:
    """n + 1 rows of a key [d_r] and a continuous prompt [l, d]; row 0 is the knowledge sentinel.

    Rows are appended in amortised constant time and never changed (RECIPE section 4.1). A query
    uses the best row only if it beats the sentinel strictly, or a threshold in the sentinel's
    place.
    """

    def __init__(
        self,
        keys: Tensor,
        prompts: Tensor,
        *,
        threshold: float | None = None,
        index: InnerProductIndex | None = None,
    ) -> None:
        """Start with keys [n + 1, d_r] and prompts [n + 1, l, d], the sentinel's first.

        With an index, a large repository is searched approximately.
        """
        self.threshold = threshold
        self._index = index
        self._keys = GrowingRows()
        self._prompts = GrowingRows()
        self.append(keys, prompts)

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
        """Row [B] that each query [B, d_r] uses; 0 where nothing beats the sentinel (section 4.2).

        Of several equal best rows the oldest is taken.
        """
        if self._index is not None and len(self) >= self._index.smallest:
            return self._indexed(queries, self._index)
        scores = self.scores(queries)  # [B, n + 1]
        best, rows = scores.max(dim=1)  # the first of several
        return torch.where(best > scores[:, 0], rows, 0)

    def scores(self, queries: Tensor) -> Tensor:
        """Score of each row for each query, q . k [B, n + 1]; edits must beat the first."""
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


def check_faiss() -> None:
    """Do nothing where FAISS can be imported.

    Raises:
        ValueError: faiss-cpu is not installed.
    """
    if find_spec("faiss") is None:
        raise ValueError(
            "The index 'faiss' wants the package faiss-cpu, which is not installed; "
            "pip install 'lifelong-edit-bench[faiss]' adds it."
        )


class InnerProductIndex:
    """Finds the row of a growing matrix with (almost surely) the largest inner product.

    An inverted file: rows lie in cells around some of them, and a query looks into the nearest
    cells alone. Rows are added at the first query after they were appended; cells are rebuilt
    whenever the rows have doubled, which is amortised constant time for each. Searching here is
    worth while from `smallest` rows on.

    Raises:
        ValueError: faiss-cpu is not installed.
    """

    def __init__(self, *, smallest: int) -> None:
        check_faiss()
        import faiss

        self.smallest = smallest
        self._faiss: Any = faiss
        self._cells: Any = None
        self._built_for = 0  # rows

    def nearest(self, queries: Tensor, rows: Tensor) -> Tensor:
        """Number [B] of the row of `rows` [N, d] for each query [B, d].

        `rows` are those of the last call and further ones.
        """
        self._add_new(rows)
        self._cells.nprobe = min(_PROBED, self._cells.nlist)
        _, numbers = self._cells.search(_array(queries), 1)
        return torch.from_numpy(numbers[:, 0]).to(rows.device)

    def _add_new(self, rows: Tensor) -> None:
        if (
            self._cells is None
            or len(rows) >= 2 * self._built_for
            or len(rows) < self._cells.ntotal
        ):
            self._build(rows)
        self._cells.add(_array(rows[self._cells.ntotal :]))

    def _build(self, rows: Tensor) -> None:
        width, count = rows.shape[1], max(1, math.isqrt(len(rows)))
        measure = self._faiss.METRIC_INNER_PRODUCT
        self._cells = self._faiss.IndexIVFFlat(
            self._faiss.IndexFlatIP(width), width, count, measure
        )
        self._cells.cp.niter, self._cells.cp.max_points_per_centroid = _ROUNDS, _SAMPLED
        self._cells.cp.min_points_per_centroid = 1
        self._cells.train(_array(rows))
        self._built_for = len(rows)


def _array(rows: Tensor) -> Any:
    return rows.detach().float().contiguous().cpu().numpy()
