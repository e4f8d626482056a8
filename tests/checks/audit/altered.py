"""The findings of a check, on the published numbers or with one of them changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import cache

from bench.checks.audit.findings import Finding, Numbers
from bench.core.published import Published, PublishedCell, all_numbers

published = cache(all_numbers)


def altered(cell: PublishedCell, **change: float | None) -> dict[PublishedCell, Published]:
    """All published numbers, with another value or std in one cell."""
    changed = dataclasses.replace(published()[cell], **change)  # type: ignore[arg-type]
    return published() | {cell: changed}


def findings(
    check: Callable[[Numbers], Iterator[Finding]], numbers: Numbers | None = None
) -> dict[str, Finding]:
    """By name, each name once; of the published numbers by default."""
    every = list(check(published() if numbers is None else numbers))
    by_name = {finding.name: finding for finding in every}
    assert len(by_name) == len(every)
    return by_name


def bare(values: dict[PublishedCell, float]) -> dict[PublishedCell, Published]:
    """Numbers without a spread."""
    return {cell: Published(value=value, std=None) for cell, value in values.items()}
