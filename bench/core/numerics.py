"""Numbers that come out the same each time, and the provenance that says how they were computed.

Draws by a seed, spread over seeds, fixed kernels; then versions, commit, hardware and time by
phase, which change no result.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import bench

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_FIXED = ":4096:8"  # of the two that torch's notes on reproducibility name, the faster
_LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")


def draw(samples: Sequence[T], *, seed: int, limit: int | None, part: int | None = None) -> list[T]:
    """The first `limit` samples (all if None) of one shuffle by `numpy.random.default_rng(seed)`.

    With a `part` it is that part, counted from 0, of the consecutive parts of `limit` samples of
    the shuffle by 0: parts of equal limits are disjoint. The released evaluation of RECIPE shuffles
    once for one edit and twice for more; drawing once gives every n the same nested order.
    """
    import numpy as np

    order = np.random.default_rng(seed if part is None else 0).permutation(len(samples))
    start = 0 if part is None or limit is None else part * limit
    return [samples[i] for i in order[start : None if limit is None else start + limit]]


def blocks(samples: Sequence[T], n_edits: int) -> list[list[T]]:
    """Disjoint consecutive blocks of `n_edits` samples; an incomplete tail is dropped."""
    if len(samples) < n_edits:
        raise ValueError(f"{n_edits} sequential edits need as many samples, got {len(samples)}.")
    last = len(samples) - n_edits
    return [list(samples[start : start + n_edits]) for start in range(0, last + 1, n_edits)]


@dataclass(frozen=True)
class Spread:
    """The mean of n values with their sample standard deviation, None where n is 1."""

    mean: float
    std: float | None
    n: int


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation (n - 1 in the denominator) of one value per seed."""
    if not values:
        raise ValueError("A mean over seeds needs at least one value.")
    std = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), std, len(values))


def fix_arithmetic() -> None:
    """Only deterministic kernels and no TF32, as long as this process lives: slower on a GPU."""
    import torch

    if os.environ.get(_WORKSPACE) not in {_FIXED, ":16:8"}:  # read when CUDA is first used
        os.environ[_WORKSPACE] = _FIXED
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


@contextmanager
def fixed_arithmetic(*, wanted: bool) -> Iterator[None]:
    """`fix_arithmetic` for the block, where it is wanted; afterwards all is as it was."""
    if not wanted:
        yield
        return
    import torch

    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    workspace, mode = os.environ.get(_WORKSPACE), torch.get_deterministic_debug_mode()
    flags = cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32
    tf32 = matmul.allow_tf32
    fix_arithmetic()
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32 = flags
        matmul.allow_tf32 = tf32
        if workspace is None:
            os.environ.pop(_WORKSPACE, None)
        else:
            os.environ[_WORKSPACE] = workspace


# ---- provenance ------------------------------------------------------------------------------


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
            import torch

            torch.cuda.synchronize(self.device)


def now() -> str:
    """The present time in UTC, ISO 8601, to the microsecond: no two records of a cell are alike."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def provenance(
    device: torch.device, *, started: str, seconds: Mapping[str, float]
) -> dict[str, Any]:
    """Plain values; `seconds` are wall seconds by phase.

    Peak memory is in bytes, of this process since it started: it may have run other cells before.
    """
    import torch

    unit = 1 if sys.platform == "darwin" else 1024  # getrusage: bytes on macOS, KiB on Linux
    peak = {"resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if device.type == "cuda":
        peak["accelerator"] = torch.cuda.max_memory_allocated(device)
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
        "peak_memory": peak,
    }


@cache
def git_state() -> dict[str, Any] | None:
    """Commit and dirty flag of the checkout that holds this package, None outside of one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changes = git("status", "--porcelain", "--untracked-files=no")
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changes)}
    except (OSError, subprocess.CalledProcessError):
        return None


def hardware(device: torch.device) -> dict[str, str]:
    """Names of the machine's parts; `cpu_capability` decides which CPU kernels torch takes."""
    import torch

    parts = {
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "device": str(device),
    }
    if device.type == "cuda":
        parts["accelerator"] = torch.cuda.get_device_name(device)
    return parts


def _processor() -> str:
    """The processor's name; `platform` leaves it empty on Linux."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
