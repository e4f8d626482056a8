"""What the printed spreads can and cannot be."""

from __future__ import annotations

from collections.abc import Iterator

from bench.checks.audit import spread_bounds, spread_sources
from bench.checks.audit.findings import Check, Finding, Numbers
from bench.checks.audit.significant import SEEDS


def find(numbers: Numbers) -> Iterator[Finding]:
    """Their sources, then their sizes."""
    yield from spread_sources.find(numbers)
    yield from spread_bounds.find(numbers)


CHECK = Check(
    key="spread",
    title="What the printed spreads can be",
    rule=f"± is over {SEEDS} runs with different seeds; what the seeds change is not said. If they "
    "only order the samples, a cell has no spread where all samples are used and their order does "
    "not matter. Bounds on numbers of samples hold with 97.5% confidence and for scores that "
    "scatter as much as they can.",
    find=find,
)
