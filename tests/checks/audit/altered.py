"""The published numbers with one of them changed."""

from __future__ import annotations

import dataclasses
from functools import cache

from bench.checks.audit.findings import Check, Finding, Numbers
from bench.core.published import Published, PublishedCell, all_numbers


@cache
def _published() -> dict[PublishedCell, Published]:
    return all_numbers()


def published() -> dict[PublishedCell, Published]:
    """A copy of all of them."""
    return dict(_published())


def altered(place: PublishedCell, **change: float | None) -> dict[PublishedCell, Published]:
    """All of them, with another value or std at a place that is there."""
    numbers = published()
    numbers[place] = dataclasses.replace(numbers[place], **change)  # type: ignore[arg-type]
    return numbers


def found(check: Check, numbers: Numbers) -> dict[str, Finding]:
    """What a check finds, by place; no place has two findings."""
    findings = list(check.find(numbers))
    by_place = {finding.place: finding for finding in findings}
    assert len(by_place) == len(findings)
    return by_place


def bare(values: dict[PublishedCell, float]) -> dict[PublishedCell, Published]:
    """Made numbers without a spread."""
    return {place: Published(value=value, std=None) for place, value in values.items()}
