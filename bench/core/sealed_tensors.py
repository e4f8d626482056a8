"""Safetensors files with a digest of all that they hold in the header, so that no change is unseen.

The format itself has no checksum: a number with a flipped bit is a number still.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bench.core.files import write_tensors
from bench.core.identity import canonical

_DIGEST = "digest"  # among the facts of the header


class DamagedTensorsError(ValueError):
    """A file that cannot be read, or is not what was written."""


def write_sealed(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> Path:
    """Write tensors with `facts` and their digest, in the manner of `write_tensors`.

    Raises:
        OSError: the place cannot be written; nothing partial is left there.
    """
    plain = {name: tensor.cpu() for name, tensor in tensors.items()}
    return write_tensors(path, plain, {**facts, _DIGEST: _seal(path, plain, facts)})


def read_sealed(
    path: Path, unsealed: frozenset[str] | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, and the facts without the digest; copies, which no change of the file reaches.

    Args:
        path: of the file.
        unsealed: names of the facts of files from before there were digests. Those are read as
            they are; by default there are none.

    Raises:
        FileNotFoundError: no such file.
        DamagedTensorsError: it is not as it was written.
    """
    with path.open("rb"):  # the error of a file that is not there is an OSError for sure
        pass
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            facts = dict(file.metadata() or {})
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise DamagedTensorsError(f"{path} is damaged: {error}.") from error
    if _DIGEST not in facts and unsealed is not None and facts.keys() == unsealed:
        return tensors, facts
    digest = facts.pop(_DIGEST, "")
    if digest != _seal(path, tensors, facts):
        raise DamagedTensorsError(f"{path} is damaged: its digest is not that of its content.")
    return tensors, facts


def _seal(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> str:
    """A digest of the name too: the content of another file is sound, and not this one's."""
    return digest_of(tensors, {**facts, "file": path.name})


def digest_of(tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> str:
    """sha256 over names, dtypes, shapes and bytes of all tensors, and over the facts."""
    whole = hashlib.sha256(canonical(dict(facts)).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        whole.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        flat: Any = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
        whole.update(flat)
    return whole.hexdigest()
