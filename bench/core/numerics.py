"""Numbers that come out the same each time: draws by a seed, fixed kernels, spread over seeds."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

SampleT = TypeVar("SampleT")

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_FIXED = ":4096:8"  # of the two that torch's notes on reproducibility name, the faster


def draw(samples: Sequence[SampleT], *, seed: int, limit: int | None) -> list[SampleT]:
    """The first `limit` samples (all if None) of one shuffle by `numpy.random.default_rng(seed)`.

    The released evaluation of RECIPE shuffles once for one edit and twice for more; drawing once
    gives every n the same nested order.
    """
    import numpy as np

    order = np.random.default_rng(seed).permutation(len(samples))
    return [samples[i] for i in order[:limit]]


def blocks(samples: Sequence[SampleT], n_edits: int) -> list[list[SampleT]]:
    """Disjoint consecutive blocks of `n_edits` samples; an incomplete tail is dropped."""
    if len(samples) < n_edits:
        raise ValueError(f"{n_edits} sequential edits need as many samples, got {len(samples)}.")
    last = len(samples) - n_edits
    return [list(samples[start : start + n_edits]) for start in range(0, last + 1, n_edits)]


@dataclass(frozen=True)
class Spread:
    """The mean of n values with their sample standard deviation, None where n is 1."""

    mean: float
    std: float | None
    n: int


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation (n - 1 in the denominator) of one value per seed."""
    if not values:
        raise ValueError("A mean over seeds needs at least one value.")
    std = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), std, len(values))


def fix_arithmetic() -> None:
    """Only deterministic kernels and no TF32, as long as this process lives.

    This costs some speed on a GPU. cuBLAS reads its part when CUDA is first used, so this comes
    before.
    """
    import torch

    if os.environ.get(_WORKSPACE) not in {_FIXED, ":16:8"}:
        os.environ[_WORKSPACE] = _FIXED
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


@contextmanager
def fixed_arithmetic(*, wanted: bool) -> Iterator[None]:
    """`fix_arithmetic` for the block, where it is wanted; afterwards all is as it was."""
    if not wanted:
        yield
        return
    import torch

    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    workspace, mode = os.environ.get(_WORKSPACE), torch.get_deterministic_debug_mode()
    flags = cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32
    tf32 = matmul.allow_tf32
    fix_arithmetic()
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32 = flags
        matmul.allow_tf32 = tf32
        if workspace is None:
            os.environ.pop(_WORKSPACE, None)
        else:
            os.environ[_WORKSPACE] = workspace
