"""Looking at and changing what modules compute, in context managers that always clean up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

OutputFunction = Callable[[Tensor, Tensor], Tensor]  # (module input, module output) -> new output


class Captured:
    """What a module last received or returned; filled by the forward."""

    def __init__(self) -> None:
        self._value: Tensor | None = None

    @property
    def value(self) -> Tensor:
        """The tensor, detached.

        Raises:
            RuntimeError: the module has not run.
        """
        if self._value is None:
            raise RuntimeError("Nothing was captured: the hooked module has not run.")
        return self._value

    def store(self, tensor: Tensor) -> None:
        self._value = tensor.detach()


class Prefill:
    """Whether the forward in progress reads a prompt from its start (no cached keys before it)."""

    def __init__(self) -> None:
        self.active = True


class _ForwardStoppedError(Exception):
    """Ends a forward early, once what was wanted has been seen."""


def hidden_of(output: Any) -> Tensor:
    """The tensor of a module's output, which some blocks wrap in a tuple."""
    tensor = output[0] if isinstance(output, tuple) else output
    if not isinstance(tensor, Tensor):
        raise TypeError(f"Expected a tensor from the hooked module, got {type(tensor).__name__}.")
    return tensor


def _rewrapped(output: Any, tensor: Tensor) -> Any:
    return (tensor, *output[1:]) if isinstance(output, tuple) else tensor


@contextmanager
def captured_input(module: nn.Module, *, stop: bool = False) -> Iterator[Captured]:
    """Record the first positional input of `module` at each forward; the last one stays.

    With `stop`, the forward ends there and the `with` block is left: layers above cost nothing.
    """
    captured = Captured()

    def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
        captured.store(args[0])
        if stop:
            raise _ForwardStoppedError

    yield from _until_stopped(module.register_forward_pre_hook(hook), captured, stop)


@contextmanager
def captured_output(module: nn.Module, *, stop: bool = False) -> Iterator[Captured]:
    """Record the output of `module` at each forward; `stop` as in `captured_input`."""
    captured = Captured()

    def hook(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        captured.store(hidden_of(output))
        if stop:
            raise _ForwardStoppedError

    yield from _until_stopped(module.register_forward_hook(hook), captured, stop)


def _until_stopped(handle: RemovableHandle, captured: Captured, stop: bool) -> Iterator[Captured]:
    try:
        yield captured
    except _ForwardStoppedError:
        if not stop:
            raise
    finally:
        handle.remove()


@contextmanager
def changed_output(module: nn.Module, function: OutputFunction) -> Iterator[None]:
    """Answer `function(input, output)` instead of the module's own output."""

    def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        return _rewrapped(output, function(args[0], hidden_of(output)))

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def watched_prefill(base: nn.Module) -> Iterator[Prefill]:
    """Tell, during each forward of the transformer `base`, a prompt from a cached step."""
    prefill = Prefill()

    def hook(_: nn.Module, __: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        cache = kwargs.get("past_key_values")
        prefill.active = cache is None or cache.get_seq_length() == 0

    handle = base.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield prefill
    finally:
        handle.remove()
