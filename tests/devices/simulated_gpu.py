"""A simulated GPU: ordinary tensors, labelled as a GPU's, on which wrong work fails.

Inside `simulated_gpu()` a tensor that was created on or moved to `cuda` stays in the CPU's memory,
but its device is `cuda:0`, and so is the device of everything computed from it. Work that a real
GPU refuses is refused: operands on two devices, a conversion to numpy, a generator of the other
device, operations that have no deterministic kernel while only those are allowed. Reads that make
the host wait for the device are counted, by the line that reads. Arithmetic, and so every number,
is the CPU's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from traceback import walk_stack
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from bench.checks.contract.tiny import TINY
from editors.parts.language_model import LanguageModel

GPU = torch.device("cuda:0")
CPU = torch.device("cpu")
META = torch.device("meta")
_ROOT = Path(__file__).parents[2]
_RealGenerator = torch.Generator


class WrongDeviceError(RuntimeError):
    """Work that a GPU would have refused."""


@dataclass
class Seen:
    """What was observed on the device."""

    waits: Counter[str] = field(default_factory=Counter)  # "file:line" of ours -> times


@contextmanager
def simulated_gpu() -> Iterator[Seen]:
    """Inside, there is one GPU, `cuda`."""
    seen = Seen()
    labels = _Labels()
    with ExitStack() as stack:
        for target, instead in _CUDA.items():
            stack.enter_context(patch(f"torch.cuda.{target}", instead))
        stack.enter_context(patch("torch.Generator", _Generator))
        operations = stack.enter_context(_Operations(labels, seen))
        stack.enter_context(_Functions(labels, seen, operations))
        yield seen


# ---- which tensors are the GPU's -------------------------------------------------------------


class _Labels:
    """The GPU's storages. Views share their tensor's; new storages never inherit a freed label."""

    def __init__(self) -> None:
        self._held: dict[int, StorageWeakRef] = {}

    def of(self, tensor: Tensor) -> torch.device:
        return GPU if storage_of(tensor) in self._held else CPU

    def put(self, tensor: Tensor, device: torch.device) -> None:
        key = storage_of(tensor)
        if device == CPU or not key:
            self._held.pop(key, None)
            return
        # As long as the weak reference is held, no other storage gets the address.
        self._held.setdefault(key, StorageWeakRef(_plain(tensor).untyped_storage()))
        if len(self._held) % 5_000 == 0:
            self._held = {key: ref for key, ref in self._held.items() if not ref.expired()}


def storage_of(tensor: Tensor) -> int:
    """Address of a tensor's storage; 0 for sparse tensors, which have several."""
    strided = tensor.layout is torch.strided
    return int(_plain(tensor).untyped_storage()._cdata) if strided else 0


def _plain(tensor: Tensor) -> Tensor:
    """The tensor below those that `torch.func` wraps it in."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_iter(tree) if isinstance(leaf, Tensor)]


# ---- calls from Python --------------------------------------------------------------------

_FROM_PYTHON = {"tensor", "as_tensor"}
_LIKE_FIRST = {"new_tensor", "__deepcopy__"}


class _Functions(TorchFunctionMode):
    """Answers questions about devices, and replaces device arguments before CPU kernels run."""

    def __init__(self, labels: _Labels, seen: Seen, operations: _Operations) -> None:
        super().__init__()
        self.labels, self.seen, self.operations = labels, seen, operations

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        name, kwargs = getattr(func, "__name__", ""), dict(kwargs or {})
        own = args[0] if args and isinstance(args[0], Tensor) else None
        origin = CPU if own is None else self.labels.of(own)
        if name == "__get__":
            return self._attribute(func, args, origin)
        if name == "pin_memory":
            return own
        if origin == GPU:
            self._read(name)
        wanted, args, kwargs = self._without_devices(name, args, kwargs)
        if wanted == META:
            return func(*args, **kwargs)
        self._check_generator(kwargs.get("generator"), wanted or origin, name)
        present = {self.labels.of(t) for t in _tensors((args, kwargs)) if t.dim()}
        with self.operations.inside(wanted or (GPU if GPU in present else CPU)):
            result = func(*args, **kwargs)
        if not isinstance(result, Tensor) or (wanted is None and name not in _LIKE_FIRST):
            return result
        blocking = not kwargs.get("non_blocking")
        return self._placed(name, result, own, wanted or origin, blocking=blocking)

    def _placed(
        self, name: str, result: Tensor, own: Tensor | None, device: torch.device, *, blocking: bool
    ) -> Tensor:
        """A result with its label; in its own memory if it came from the other device."""
        if own is None or name in _LIKE_FIRST:
            if device == GPU and name in _FROM_PYTHON:
                _count(self.seen.waits)
        elif self.labels.of(own) == device:
            return result
        else:
            if storage_of(result) == storage_of(own):
                result = result.clone()
            if device == CPU or blocking:
                _count(self.seen.waits)
        self.labels.put(result, device)
        return result

    def _attribute(self, func: Any, args: tuple[Any, ...], origin: torch.device) -> Any:
        attribute = getattr(getattr(func, "__self__", None), "__name__", "")
        of_gpu = {"device": GPU, "is_cuda": True, "is_cpu": False}
        return of_gpu[attribute] if origin == GPU and attribute in of_gpu else func(*args)

    def _read(self, name: str) -> None:
        """Reads that are not operations, unlike `item`."""
        if name == "numpy":
            raise WrongDeviceError("numpy() of a tensor on the GPU")
        if name == "tolist":
            _count(self.seen.waits)

    def _without_devices(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[torch.device | None, tuple[Any, ...], dict[str, Any]]:
        """The requested device, and the arguments with the CPU in place of the GPU."""
        if name == "cpu":
            return CPU, args, kwargs
        if name == "cuda":
            raise WrongDeviceError("cuda() instead of the requested device")
        if name == "to" and _tensors(args[1:2]):
            return self.labels.of(args[1]), args, kwargs
        named = kwargs.get("device")
        if named is None and name == "to":
            named = next((a for a in args[1:] if isinstance(a, str | torch.device)), None)
        if named is None:
            return None, args, kwargs
        device = torch.device(named)
        if device == META:
            return META, args, kwargs
        if "device" in kwargs:
            kwargs = kwargs | {"device": CPU}
        args = tuple(CPU if a is named else a for a in args)
        return GPU if device.type == "cuda" else CPU, args, kwargs

    def _check_generator(self, generator: Any, device: torch.device, name: str) -> None:
        if generator is not None and generator.device.type != device.type:
            raise WrongDeviceError(f"{name}: a generator of {generator.device} for {device}")


# ---- operations ------------------------------------------------------------------------

_ACROSS = {"copy_", "_foreach_copy_"}
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
_WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "bincount", "_unique2"}
# https://pytorch.org/docs/stable/generated/torch.use_deterministic_algorithms.html
_UNORDERED = {"histc", "index_reduce", "kthvalue", "nll_loss2d_forward", "put", "put_"}


class _Operations(TorchDispatchMode):
    """Checks the operands of every operation, those of the backward pass included."""

    def __init__(self, labels: _Labels, seen: Seen) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.labels, self.seen = labels, seen
        self._surrounding = CPU

    @contextmanager
    def inside(self, device: torch.device) -> Iterator[None]:
        """Tensors that a call creates without operands are on this device."""
        before, self._surrounding = self._surrounding, device
        try:
            yield
        finally:
            self._surrounding = before

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        name, kwargs = func._schema.name.removeprefix("aten::"), dict(kwargs or {})
        operands = _tensors((args, kwargs))
        device = self._device(name, args, operands)
        if device == GPU or any(self.labels.of(operand) == GPU for operand in operands):
            self._check(name, args, kwargs)
        held = {storage_of(operand) for operand in operands}
        result = func(*args, **kwargs)
        for tensor in _tensors(result):
            if storage_of(tensor) not in held and tensor.device != META:
                self.labels.put(tensor, device)
        return result

    def _device(self, name: str, args: tuple[Any, ...], operands: Sequence[Tensor]) -> torch.device:
        """Where an operation's result is."""
        if not operands:
            return self._surrounding
        if name in _ACROSS:
            return self.labels.of(operands[0])
        if name in _INDEXING:
            indices = {self.labels.of(index) for index in args[1] if index is not None}
            if self.labels.of(args[0]) == CPU and GPU in indices:
                raise WrongDeviceError(f"{name}: a CPU tensor indexed with the GPU's")
            operands = [args[0], *_tensors(args[2:])]
        large = {self.labels.of(t) for t in operands if t.dim()}
        small = {self.labels.of(t) for t in operands if not t.dim()}
        if len(large) > 1 or (large == {CPU} and GPU in small):
            shapes = ", ".join(f"{tuple(t.shape)} on {self.labels.of(t)}" for t in operands)
            raise WrongDeviceError(f"{name}: operands on two devices: {shapes}")
        return GPU if GPU in large | small else CPU

    def _check(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        # A mask's size must be known, and the CPU's indices are copied.
        masks = name in _INDEXING and any(
            i is not None and (i.dtype == torch.bool or self.labels.of(i) == CPU) for i in args[1]
        )
        moves = name == "copy_" and self.labels.of(args[0]) != self.labels.of(args[1])
        if name in _WAITING or masks or (moves and args[1].dim() and not (args[2:] or [False])[0]):
            _count(self.seen.waits)
        if torch.are_deterministic_algorithms_enabled() and _is_unordered(name, args, kwargs):
            raise WrongDeviceError(f"{name} has no deterministic kernel on a GPU")


def _is_unordered(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    if name == "bincount":
        return [*args[1:2], kwargs.get("weights")][0] is not None
    if name in {"median", "nanmedian"}:
        return len(args) > 1
    if name.startswith("cumsum"):
        return bool(args[0].is_floating_point())
    return name in _UNORDERED


def _count(waits: Counter[str]) -> None:
    """Count a wait for the innermost line of this package that led to it."""
    for frame, line in walk_stack(None):
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(_ROOT) and path.parts[len(_ROOT.parts)] in {"bench", "editors"}:
            waits[f"{path.relative_to(_ROOT)}:{line}"] += 1
            return
    waits["elsewhere"] += 1


# ---- torch.cuda ------------------------------------------------------------------------------


class _Generator(_RealGenerator):
    """A generator with the device of its creation."""

    named: torch.device

    def __new__(cls, device: Any = "cpu") -> _Generator:
        generator = super().__new__(cls, "cpu")  # type: ignore[call-arg]
        generator.named = torch.device(device)
        return generator

    def __init__(self, device: Any = "cpu") -> None:
        del device

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.named


_CUDA: dict[str, Callable[..., Any]] = {
    "is_available": lambda: True,
    "is_initialized": lambda: True,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "synchronize": lambda *_: None,
    "empty_cache": lambda: None,
    "manual_seed_all": lambda *_: None,
    "get_device_name": lambda *_: "simulated",
    "max_memory_allocated": lambda *_: 1,
    "get_rng_state": lambda *_: torch.get_rng_state(),
    "set_rng_state": lambda state, *_: torch.set_rng_state(state),
}


# ---- the contract's tiny models --------------------------------------------------------------


@contextmanager
def tiny_models_on_gpu() -> Iterator[Seen]:
    """Inside, every tiny model is created on the GPU."""
    on_gpu = {kind: _moved(create) for kind, create in TINY.items()}
    with simulated_gpu() as seen, patch.dict(TINY, on_gpu):
        yield seen


def _moved(create: Callable[[], LanguageModel]) -> Callable[[], LanguageModel]:
    def moved() -> LanguageModel:
        lm = create()
        model: Any = lm.model
        return LanguageModel(model.to(GPU), lm.tokenizer, name=lm.name)

    return moved
