"""Keys of what the code computes and stores: cached answers and edits, and checkpoints.

A key covers everything that may move the last bits of a result: the code, the libraries, the
machine. The code is the source of whole rooms, so that a renamed, added or removed file is another
key; listing single files would let a renamed one leave the key without a word.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import bench
from bench.core.checksums import cached_digest
from bench.core.provenance import hardware
from bench.world.store import cache_root
from editors.parts.language_model import LanguageModel

_ROOT = Path(__file__).resolve().parents[2]
# What draws samples, loads models, edits and asks them.
ROOMS = ("editors", "bench/core", "bench/datasets", "bench/models", "bench/evaluation")
LIBRARIES = ("torch", "transformers", "tokenizers")


def digest_of_rooms(rooms: Sequence[str], root: Path = _ROOT) -> str:
    """sha256 over the paths and contents of all Python files in some folders.

    Args:
        rooms: folders below `root`.
        root: of the checkout or the installation.

    Raises:
        ValueError: a folder without any Python file.
    """
    whole = hashlib.sha256()
    for room in rooms:
        files = sorted((root / room).rglob("*.py"))
        if not files:
            raise ValueError(f"No Python file in {root / room}; the key of the code covers it.")
        for path in files:
            name = path.relative_to(root).as_posix()
            whole.update(f"{name}\0{cached_digest(path)}\n".encode())
    return whole.hexdigest()


# Of the code as it is when it is imported: later changes of the files are of another process.
CODE = digest_of_rooms(ROOMS)


def cache_folder(kind: str, lm: LanguageModel, depends: Sequence[object]) -> Path:
    """A folder of the cache for results of an unedited model.

    Other weights, arithmetic, code or `depends` have another folder.

    Args:
        kind: of what is cached.
        lm: a model with a digest.
        depends: JSON values.
    """
    identity = [lm.digest, str(lm.dtype), numerics(lm.device), *depends]
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    return cache_root() / kind / name


def numerics(device: torch.device) -> dict[str, Any]:
    """What a stream was computed with, as plain JSON values; it is not continued with others."""
    return {
        "package": bench.__version__,
        "code": CODE,
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """The first entry of `numerics` that differs, in words; None where none does."""
    for name in dict.fromkeys([*here, *there]):
        before, now = there.get(name), here.get(name)
        if before == now:
            continue
        if name == "code":
            return "by other code"
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            inner = difference(before, now)
            return inner or f"with another {name}"
        return f"with {name} {before!r}, here it is {now!r}"
    return None
