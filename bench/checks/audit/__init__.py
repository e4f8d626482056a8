"""The paper's tables checked against themselves: every finding from the printed numbers alone."""

from __future__ import annotations

from bench.checks.audit import (
    ablation,
    averages,
    claims,
    losses,
    rises,
    rows,
    significant,
    spread,
    tasks,
    times,
)
from bench.checks.audit.findings import Check, Finding, Numbers, Section

__all__ = ["CHECKS", "Check", "Finding", "Numbers", "Section", "audit"]

CHECKS: tuple[Check, ...] = (
    averages.CHECK,
    ablation.CHECK,
    claims.CHECK,
    losses.CHECK,
    times.CHECK,
    rises.CHECK,
    significant.CHECK,
    spread.CHECK,
    rows.CHECK,
    tasks.CHECK,
)


def audit(numbers: Numbers) -> tuple[Section, ...]:
    """Every check over all published tables; the same numbers give the same findings."""
    return tuple(Section(check=check, findings=tuple(check.find(numbers))) for check in CHECKS)
