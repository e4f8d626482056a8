"""What may move the last bits of a result of one cell: code, libraries, machine."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

import torch

import bench
from bench.digests import combined_digest
from bench.kept_folders import ASKING_CODE, LIBRARIES, ROOT
from bench.provenance import hardware

# What runs a stream, beside all that asks models.
_SOURCES = (
    "answers.py",
    "asking.py",
    "checkpoints.py",
    "driver.py",
    "edits_made.py",
    "general_ability/running.py",
    "health.py",
    "keeping.py",
    "keeping_answers.py",
    "rows.py",
    "seeds.py",
    "streams.py",
    "timing/measure.py",
    "timing/session.py",
)
_CODE = combined_digest([ROOT / "bench" / source for source in _SOURCES])


def circumstances(device: torch.device) -> dict[str, Any]:
    """Plain JSON values; a stream that begins in some is not continued in others."""
    return {
        "package": bench.__version__,
        "code": [ASKING_CODE, _CODE],
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """The first circumstance that differs, in words; None where none does."""
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
