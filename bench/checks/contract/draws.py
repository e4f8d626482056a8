"""The global generators of random numbers, which editors leave alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def global_draws() -> list[Any]:
    """The states of the global generators, comparable."""
    numpy = np.random.get_state(legacy=False)  # noqa: NPY002 - it is the global one that counts
    key = numpy["state"]["key"].tolist()
    return [torch.get_rng_state().tolist(), random.getstate(), key, numpy["state"]["pos"]]


@contextmanager
def kept_draws() -> Iterator[None]:
    """Put the global generators back afterwards."""
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])  # noqa: NPY002 - as above
