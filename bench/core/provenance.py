"""What a record says about how it was made: versions, commit, hardware. It changes no result."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import bench

_LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")


def now() -> str:
    """The present time in UTC, ISO 8601, to the microsecond: no two records of a cell are alike."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def provenance(
    device: torch.device, *, started: str, seconds: Mapping[str, float]
) -> dict[str, Any]:
    """Plain values; `seconds` are wall seconds by phase, peak memory is in bytes."""
    return {
        "package": bench.__version__,
        "git": git_state(),
        "python": platform.python_version(),
        "libraries": {name: metadata.version(name) for name in _LIBRARIES},
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "started": started,
        "finished": now(),
        "seconds": dict(seconds),
        "peak_memory": peak_memory(device),
    }


@cache
def git_state() -> dict[str, Any] | None:
    """Commit and dirty flag of the checkout that holds this package, None outside of one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    if commit is None or changes is None:
        return None
    return {"commit": commit, "dirty": bool(changes)}


def hardware(device: torch.device) -> dict[str, str]:
    """Names of the machine's parts; `cpu_capability` decides which CPU kernels torch takes."""
    parts = {
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "device": str(device),
    }
    if device.type == "cuda":
        parts["accelerator"] = torch.cuda.get_device_name(device)
    return parts


def peak_memory(device: torch.device) -> dict[str, int]:
    """Peak bytes of this process since it started (it may have run other cells before)."""
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage: bytes on macOS, KiB on Linux
    peak = {"resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if device.type == "cuda":
        peak["accelerator"] = torch.cuda.max_memory_allocated(device)
    return peak


def _processor() -> str:
    """The processor's name; `platform` leaves it empty on Linux."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git(root: Path, *arguments: str) -> str | None:
    """Output of a git command, None where git or the repository does not answer."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
