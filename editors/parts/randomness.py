"""Random draws that leave the global generators as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class GeneratorScope:
    """A private stream for code that can only draw from the global generator, such as dropout.

    Inside `with scope.active():` the global generator of the device continues this stream; outside
    it is untouched. The state can be saved and continued.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.device = device
        self.state = torch.Generator(device).manual_seed(seed).get_state()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Draw from this stream."""
        outside = self._global_state()
        self._set_global_state(self.state)
        try:
            yield
        finally:
            self.state = self._global_state()
            self._set_global_state(outside)

    def _global_state(self) -> Tensor:
        if self.device.type == "cuda":
            return torch.cuda.get_rng_state(self.device)
        return torch.get_rng_state()

    def _set_global_state(self, state: Tensor) -> None:
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state, self.device)
        else:
            torch.set_rng_state(state)
