"""Arithmetic that gives the same bits every time, on a GPU too, where that costs some speed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_FIXED = ":4096:8"  # of the two that torch's notes on reproducibility name, the faster one


def fix_arithmetic() -> None:
    """Only deterministic kernels and no TF32, as long as this process lives.

    cuBLAS reads its part when CUDA is first used, so this comes before.
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
    """`fix_arithmetic` for the while, where it is wanted; afterwards all is as it was."""
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
