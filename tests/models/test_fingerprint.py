from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from bench.models import fingerprint as module
from bench.models.fingerprint import changed, fingerprint


class Small(nn.Module):
    """Parameters of several dtypes and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(7, 5, generator=generator))
        self.narrow = nn.Parameter(torch.randn(9, generator=generator).to(torch.bfloat16))
        self.register_buffer("mask", torch.tensor([True, False, True]))
        self.register_buffer("empty", torch.zeros(0))
        self.shared = self.weight


@pytest.fixture
def small() -> Small:
    return Small()


@contextmanager
def one_change(model: Small, at: str) -> Iterator[None]:
    """One element of one tensor differs as little as it can, and is put back."""
    tensor = model.get_parameter(at) if at != "mask" else model.get_buffer(at)
    flat = tensor.detach().view(-1)
    before = flat.clone()
    flat.view(torch.uint8)[-flat.element_size()] ^= 1
    try:
        yield
    finally:
        flat.copy_(before)


@pytest.mark.parametrize("at", ["weight", "narrow", "mask"])
def test_one_bit_shows_and_putting_it_back_does_not(small: Small, at: str) -> None:
    before = fingerprint(small)
    with one_change(small, at):
        assert changed(before, fingerprint(small)) == [at]
    assert fingerprint(small) == before


def test_what_is_equal_but_not_the_same_bits_shows(small: Small) -> None:
    with torch.no_grad():
        small.weight[0, 0] = 0.0
        before = fingerprint(small)
        small.weight[0, 0] = -0.0
    assert changed(before, fingerprint(small)) == ["weight"]


def test_an_exchange_of_two_elements_shows(small: Small) -> None:
    before = fingerprint(small)
    with torch.no_grad():
        small.weight[[0, 1]] = small.weight[[1, 0]]
    assert changed(before, fingerprint(small)) == ["weight"]


def test_other_shapes_and_tensors_that_come_and_go_show(small: Small) -> None:
    before = fingerprint(small)
    small.register_buffer("left", torch.ones(1))
    small.narrow = nn.Parameter(small.narrow.detach().view(3, 3))
    del small.mask
    assert changed(before, fingerprint(small)) == ["left", "mask", "narrow"]


def test_chunks_are_told_apart(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 5)
    before = fingerprint(small)
    with torch.no_grad():  # whole chunks, whose sums are the same
        small.weight[[0, 1]] = small.weight[[1, 0]]
    assert changed(before, fingerprint(small)) == ["weight"]
