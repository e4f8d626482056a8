"""The only place that writes to a model's weights, and that can undo it bit-exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from editors.base import Editor, HparamsT, Resources
from editors.parts.language_model import LanguageModel

HALF = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class WeightDelta:
    """An increment of one parameter, in the parameter's own stored layout."""

    name: str  # of the parameter, as `model.named_parameters()` has it
    value: Tensor


class EditedWeights:
    """Adds deltas to a model and remembers the pristine value of every parameter it touches.

    A parameter of half precision has a float32 master, to which deltas are added and which is
    rounded into the model; otherwise many small edits would each be rounded away.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._pristine: dict[str, Tensor] = {}
        self._masters: dict[str, Tensor] = {}

    @property
    def touched(self) -> tuple[str, ...]:
        """Names of the parameters that differ, or may differ, from the pristine model."""
        return tuple(self._pristine)

    @torch.no_grad()
    def add(self, deltas: Iterable[WeightDelta]) -> None:
        """Add deltas on top of earlier ones, in the dtype of the weights, at least in float32."""
        for delta in deltas:
            exact = self._touch(delta.name)
            exact.add_(delta.value.to(exact))
            self._round(delta.name)

    @torch.no_grad()
    def restore(self) -> None:
        """Put every touched parameter back to its pristine bits."""
        for name, value in self._pristine.items():
            self._model.get_parameter(name).copy_(value)
        self._pristine.clear()
        self._masters.clear()

    def state_dict(self) -> dict[str, Tensor]:
        """Present values of the touched parameters; values, because sums of deltas would round."""
        return {name: self._exact(name).detach().clone() for name in self._pristine}

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
            self._round(name)

    def _touch(self, name: str) -> Tensor:
        """The exact value of a parameter; the first call stores its pristine value."""
        if name not in self._pristine:
            parameter = self._model.get_parameter(name)
            self._pristine[name] = parameter.detach().clone()
            if parameter.dtype in HALF:
                self._masters[name] = parameter.detach().float()
        return self._exact(name)

    def _exact(self, name: str) -> Tensor:
        """The parameter itself, so that torch counts what is written to it, or its master."""
        return self._masters.get(name, self._model.get_parameter(name))

    def _round(self, name: str) -> None:
        if name in self._masters:
            self._model.get_parameter(name).copy_(self._masters[name])


@contextmanager
def tried_out(model: nn.Module) -> Iterator[EditedWeights]:
    """Context in which deltas may be added; afterwards every weight has its earlier bits."""
    weights = EditedWeights(model)
    try:
        yield weights
    finally:
        weights.restore()


@contextmanager
def thawed(model: nn.Module, names: Iterable[str]) -> Iterator[dict[str, nn.Parameter]]:
    """Context in which parameters are trained in place; afterwards values and flags are restored.

    Yields by name what an optimiser should train: the parameter itself or, of half precision, a
    float32 master that every forward of its module rounds into the model. Read what training
    changed before the block ends.
    """
    with ExitStack() as stack:
        yield {name: stack.enter_context(_thawed(model, name)) for name in names}


@contextmanager
def _thawed(model: nn.Module, name: str) -> Iterator[nn.Parameter]:
    parameter = model.get_parameter(name)
    before, flag = parameter.detach().clone(), parameter.requires_grad
    try:
        parameter.requires_grad_(True)
        if parameter.dtype in HALF:
            with _trained_master(model.get_submodule(name.rpartition(".")[0]), parameter) as master:
                yield master
        else:
            yield parameter
    finally:
        parameter.grad = None
        parameter.requires_grad_(flag)
        parameter.data.copy_(before)


@contextmanager
def _trained_master(owner: nn.Module, parameter: nn.Parameter) -> Iterator[nn.Parameter]:
    """A float32 master that collects the parameter's gradients and sets its values."""
    master = nn.Parameter(parameter.detach().float())

    def lend(*_: Any) -> None:
        parameter.data.copy_(master.data)

    def take(_: Tensor) -> None:
        gradient = parameter.grad
        if gradient is not None:
            taken = gradient.float()
            master.grad = taken if master.grad is None else master.grad + taken
        parameter.grad = None

    handles = (
        owner.register_forward_pre_hook(lend),
        parameter.register_post_accumulate_grad_hook(take),
    )
    try:
        yield master
    finally:
        for handle in handles:
            handle.remove()


class WeightEditor(Editor[HparamsT]):
    """An editor whose edits are changes of the model's own weights: it has reset and state.

    Subclasses compute what to add, and hand it to `self._weights.add`.
    """

    def __init__(self, lm: LanguageModel, hparams: HparamsT, resources: Resources) -> None:
        super().__init__(lm, hparams, resources)
        self._weights = EditedWeights(lm.model)

    def reset(self) -> None:
        self._weights.restore()

    def state_dict(self) -> dict[str, Tensor]:
        """The edited parameters, as they stand."""
        return self._weights.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore, then write the parameters of `state`."""
        self._weights.load_state_dict(state)
