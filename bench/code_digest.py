"""What code a kept result came from: other code finds none of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from bench.digests import combined_digest

ROOT = Path(__file__).resolve().parents[1]
# All of the editors, and what of the benchmark asks models.
_SOURCES = ("editors/**/*.py", "bench/metrics.py", "bench/prober.py", "bench/probing.py")


@cache
def code_digest() -> str:
    """sha256 over the source files that answers and edits come from."""
    return combined_digest([path for source in _SOURCES for path in sorted(ROOT.glob(source))])
