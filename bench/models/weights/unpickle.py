"""One pickled file of weights to one safetensors file; a script, run by `convert`.

The only place with a `torch.load`. It reads with `weights_only=True`, so names of anything but
tensors and plain containers are refused before they are looked up. As a second guard, once the
libraries are loaded, this process refuses to open connections, start programs or load libraries.
It imports nothing of this package, and runs isolated from the environment and the working
directory.

Usage: unpickle.py SOURCE TARGET; exit code 3 with a sentence if the file is refused.
"""

from __future__ import annotations

import re
import sys
import zipfile
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

REFUSED = 3
# Where training scripts put the weights beside other things.
_NESTED = ("state_dict", "model_state_dict", "model")
_FORBIDDEN = (
    "socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork",
    "os.remove", "os.rename", "os.rmdir", "shutil.", "ctypes.dlopen", "urllib.", "ftplib.",
    "smtplib.", "pty.", "webbrowser.",
)  # fmt: skip


def main(source: str, target: str) -> int:
    """Convert; the exit code."""
    sys.addaudithook(_guard)
    try:
        # A plain zip of tensors is mapped, so that the file is never in memory twice.
        loaded = torch.load(
            source, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(source)
        )
        tensors = _separate(_tensors(loaded))
        # Transformers reads no file without this entry.
        save_file(tensors, target, metadata={"format": "pt"})
    except Exception as error:  # noqa: BLE001 - a broken or hostile file raises anything
        print(_reason(error), file=sys.stderr)  # noqa: T201 - what the other process reads
        return REFUSED
    return 0


def _guard(event: str, _: tuple[Any, ...]) -> None:
    if event.startswith(_FORBIDDEN):
        raise PermissionError(f"it tried {event}")


def _tensors(loaded: Any) -> dict[str, Tensor]:
    """Named tensors, by themselves or under one of the usual keys."""
    if isinstance(loaded, Mapping):
        for key in _NESTED:
            if isinstance(loaded.get(key), Mapping):
                loaded = loaded[key]
                break
    if not isinstance(loaded, Mapping) or not loaded:
        raise ValueError(f"it holds {type(loaded).__name__} instead of named tensors")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(f"it holds {type(value).__name__} at {name!r}, where a tensor belongs")
        if value.layout != torch.strided or value.is_quantized:
            raise ValueError(f"its tensor {name!r} is sparse or quantised, which is not read")
    return dict(loaded)


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors of their own memory; those that share it, as tied weights do, are copied.

    Copies are written rather than left out: whether weights are tied is for the configuration.
    """
    seen: set[int] = set()
    separate = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage().data_ptr()
        whole = tensor.is_contiguous() and tensor.nbytes == tensor.untyped_storage().nbytes()
        separate[name] = tensor if whole and storage not in seen else tensor.contiguous().clone()
        seen.add(storage)
    return separate


def _reason(error: Exception) -> str:
    """Why the file is refused, as a clause."""
    text = " ".join(str(error).split())
    named = re.search(r"GLOBAL (\S+)", text)
    if named:
        return f"it asks for {named[1]}, which is code and is never run"
    if type(error) in {ValueError, PermissionError}:
        return text
    # torch's message here also explains how to read the file unsafely; it is not repeated.
    operand = re.search(r"Unsupported operand \d+", text)
    detail = operand[0] if operand else type(error).__name__
    return f"it is no file of tensors and plain containers alone ({detail})"


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
