"""What a training log reads of the device."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def floats_of(scalars: Mapping[str, Tensor]) -> dict[str, float]:
    """Plain numbers of scalar tensors; a GPU is waited for once, not once for each."""
    return dict(zip(scalars, torch.stack([*scalars.values()]).tolist(), strict=True))
