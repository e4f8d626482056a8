"""Approximate search for the largest inner product among very many rows, by FAISS.

An inverted file: rows lie in cells around some of them, and a query looks into the nearest cells
alone. The optional package is faiss-cpu; on a GPU the rows are searched on the CPU.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

_PROBED = 32  # cells that a query looks into, of about the square root of the number of rows
_SAMPLED = 64  # rows for each cell that its centre is made from
_ROUNDS = 10  # of k-means


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
    """Finds the row of a growing matrix that a query's inner product is (almost surely) largest of.

    Rows are taken over when asked for, so that appending costs nothing here; cells are made anew
    whenever the rows have doubled, which is amortised constant time for each.

    Args:
        smallest: number of rows from which searching here is worth while.

    Raises:
        ValueError: faiss-cpu is not installed.
    """

    def __init__(self, *, smallest: int) -> None:
        check_faiss()
        import faiss

        self.smallest = smallest
        self._faiss: Any = faiss
        self._cells: Any = None
        self._made_for = 0  # rows

    def nearest(self, queries: Tensor, rows: Tensor) -> Tensor:
        """Number [B] of the row of `rows` [N, d] for each query [B, d].

        `rows` are those of the last call with more behind them.
        """
        self._take_over(rows)
        self._cells.nprobe = min(_PROBED, self._cells.nlist)
        _, found = self._cells.search(_array(queries), 1)
        return torch.from_numpy(found[:, 0]).to(rows.device)

    def _take_over(self, rows: Tensor) -> None:
        if self._cells is None or len(rows) >= 2 * self._made_for or len(rows) < self._cells.ntotal:
            self._make(rows)
        self._cells.add(_array(rows[self._cells.ntotal :]))

    def _make(self, rows: Tensor) -> None:
        width, count = rows.shape[1], max(1, math.isqrt(len(rows)))
        measure = self._faiss.METRIC_INNER_PRODUCT
        self._cells = self._faiss.IndexIVFFlat(
            self._faiss.IndexFlatIP(width), width, count, measure
        )
        self._cells.cp.niter, self._cells.cp.max_points_per_centroid = _ROUNDS, _SAMPLED
        self._cells.cp.min_points_per_centroid = 1
        self._cells.train(_array(rows))
        self._made_for = len(rows)


def _array(rows: Tensor) -> Any:
    return rows.detach().float().contiguous().cpu().numpy()
