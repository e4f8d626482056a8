"""Where things are kept that a pristine model and the present code make, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import torch

from bench.digests import combined_digest
from bench.provenance import hardware
from bench.world.store import cache_root
from editors.parts.language_model import LanguageModel

ROOT = Path(__file__).resolve().parents[1]
# All of the editors, and what of the benchmark asks models or feeds editors.
_SOURCES = (
    "editors/**/*.py",
    "bench/backbones.py",
    "bench/corpora.py",
    "bench/key_statistics.py",
    "bench/metrics.py",
    "bench/prober.py",
    "bench/probing.py",
    "bench/resources.py",
)
LIBRARIES = ("torch", "transformers", "tokenizers")
# Of the code as it is when it is imported: later changes of the files are of another process.
ASKING_CODE = combined_digest([path for source in _SOURCES for path in sorted(ROOT.glob(source))])


def kept_folder(kind: str, lm: LanguageModel, depends: Sequence[object]) -> Path:
    """A folder of the cache that other weights, arithmetic, code or `depends` do not find.

    Args:
        kind: what is kept.
        lm: a model with a digest.
        depends: JSON values.
    """
    identity: Sequence[object] = [
        lm.digest,
        str(lm.dtype),
        hardware(lm.device),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        [metadata.version(name) for name in LIBRARIES],
        ASKING_CODE,
        *depends,
    ]
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    return cache_root() / kind / name
