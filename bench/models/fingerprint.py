"""Whether a model is bit for bit what it was: an exact checksum of its weights, cheap to repeat."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

_CHUNK = 1 << 20  # elements summed at once: the memory that a checksum takes is a few of these
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

# By tensor name: dtype, shape, and a sum modulo 2^64 of every chunk.
Fingerprint = dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]]


@torch.no_grad()
def fingerprint(model: nn.Module) -> Fingerprint:
    """Checksums of all parameters and buffers, as their bits are, where they are.

    A chunk's sum is that of its elements' bits times odd numbers that depend on the place: a change
    of one element always shows, and one of several is missed with a chance of about 2^-60.
    """
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {name: (str(t.dtype), tuple(t.shape), _sums(t)) for name, t in tensors}


def changed(before: Fingerprint, after: Fingerprint) -> list[str]:
    """Names of tensors that differ, are new, or are gone."""
    return sorted(n for n in before | after if before.get(n) != after.get(n))


def _sums(tensor: Tensor) -> tuple[int, ...]:
    bits = tensor.detach().reshape(-1).view(_BITS[tensor.element_size()])
    odd = _odd_numbers(tensor.device)
    sums = [(chunk.to(torch.int64) * odd[: len(chunk)]).sum() for chunk in bits.split(_CHUNK)]
    return tuple(torch.stack(sums).tolist())


@cache
def _odd_numbers(device: torch.device) -> Tensor:
    """[_CHUNK] odd numbers of 64 bits, always the same."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(-(2**62), 2**62, (_CHUNK,), generator=generator, dtype=torch.int64)
    return (2 * drawn + 1).to(device)
