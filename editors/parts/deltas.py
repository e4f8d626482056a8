"""The one place that writes to a model's weights, and that can undo it bit-exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class WeightDelta:
    """An increment of one parameter, in the parameter's own stored layout."""

    name: str  # of the parameter, as `model.named_parameters()` has it
    value: Tensor


class EditedWeights:
    """Adds deltas to a model and remembers the pristine value of every parameter it touches."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._pristine: dict[str, Tensor] = {}

    @property
    def touched(self) -> tuple[str, ...]:
        """Names of the parameters that differ, or may differ, from the pristine model."""
        return tuple(self._pristine)

    def pristine(self, name: str) -> Tensor:
        """The unedited value of a parameter, touched or not."""
        return self._pristine.get(name, self._model.get_parameter(name).data)

    @torch.no_grad()
    def add(self, deltas: Iterable[WeightDelta]) -> None:
        """Add deltas on top of earlier ones, in the dtype of the weights."""
        for delta in deltas:
            parameter = self._touch(delta.name)
            parameter.add_(delta.value.to(parameter))

    @torch.no_grad()
    def restore(self) -> None:
        """Put every touched parameter back to its pristine bits."""
        for name, value in self._pristine.items():
            self._model.get_parameter(name).copy_(value)
        self._pristine.clear()

    def state_dict(self) -> dict[str, Tensor]:
        """Present values of the touched parameters; values, because sums of deltas would round."""
        return {name: self._model.get_parameter(name).detach().clone() for name in self._pristine}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore the pristine model, then write the values of `state`.

        Raises:
            ValueError: a name that is no parameter of this model, or a value of another shape.
        """
        shapes = {name: parameter.shape for name, parameter in self._model.named_parameters()}
        for name, value in state.items():
            if shapes.get(name) != value.shape:
                raise ValueError(
                    f"The edit state holds {name!r} of shape {tuple(value.shape)}, "
                    f"which this model does not have."
                )
        self.restore()
        for name, value in state.items():
            self._touch(name).copy_(value)

    def _touch(self, name: str) -> nn.Parameter:
        parameter = self._model.get_parameter(name)
        if name not in self._pristine:
            self._pristine[name] = parameter.detach().clone()
        return parameter


@contextmanager
def tried_out(model: nn.Module) -> Iterator[EditedWeights]:
    """Let deltas be added for the while; afterwards every weight has its earlier bits."""
    weights = EditedWeights(model)
    try:
        yield weights
    finally:
        weights.restore()


@contextmanager
def thawed(model: nn.Module, names: Iterable[str]) -> Iterator[dict[str, nn.Parameter]]:
    """Let parameters be trained in place; afterwards values and flags are as they were.

    Yields the parameters by name. What training changed must be read before the block ends.
    """
    parameters = {name: model.get_parameter(name) for name in names}
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    flags = {name: parameter.requires_grad for name, parameter in parameters.items()}
    try:
        for parameter in parameters.values():
            parameter.requires_grad_(True)
        yield parameters
    finally:
        for name, parameter in parameters.items():
            parameter.grad = None
            parameter.requires_grad_(flags[name])
            parameter.data.copy_(before[name])
