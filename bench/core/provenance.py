"""How a record was computed: versions, commit, hardware, time by phase. It changes no result."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import torch

import bench

T = TypeVar("T")

_LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")


@dataclass
class Clock:
    """Adds up wall seconds by phase; queued device work is waited for at both ends of a phase."""

    device: torch.device
    seconds: dict[str, float] = field(default_factory=dict)
    _begun: dict[str, float] = field(default_factory=dict)  # phases that are not over

    def so_far(self) -> dict[str, float]:
        """Seconds by phase, those of a phase that is not over included."""
        now, seconds = time.perf_counter(), dict(self.seconds)
        for name, start in self._begun.items():
            seconds[name] = seconds.get(name, 0.0) + now - start
        return seconds

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of the `with` block to a phase, also when it raises."""
        self._synchronise()
        start = self._begun[name] = time.perf_counter()
        try:
            yield
        finally:
            self._synchronise()
            del self._begun[name]
            self.add(name, time.perf_counter() - start)

    def timed(self, name: str, work: Callable[[T], None], argument: T) -> float:
        """Do `work(argument)`; its own seconds, which go to the phase too."""
        before = self.seconds.get(name, 0.0)
        with self.phase(name):
            work(argument)
        return self.seconds[name] - before

    def add(self, name: str, seconds: float) -> None:
        """Count seconds that passed elsewhere as a phase's."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


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
    command = ["git", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
