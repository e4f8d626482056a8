"""The paper's tables checked against themselves: every finding from the printed numbers alone."""

from __future__ import annotations

import tomllib
from pathlib import Path

from bench.checks.audit import arithmetic, comparisons, spreads
from bench.checks.audit.findings import Numbers, Section
from bench.tables.significance import LEVEL

_FIND = {
    "averages": arithmetic.averages,
    "ablation": arithmetic.ablation,
    "claims": comparisons.claims,
    "losses": comparisons.losses,
    "times": comparisons.times,
    "rises": comparisons.rises,
    "significance": spreads.significance,
    "spread": spreads.spreads,
    "rows": arithmetic.rows,
    "tasks": arithmetic.tasks,
}
_WORDS = tomllib.loads(Path(__file__).with_name("checks.toml").read_text("utf-8"))
_NUMBERS = {
    "stds": comparisons.STDS,
    "points": comparisons.POINTS,
    "level": LEVEL,
    "seeds": spreads.SEEDS,
}


def audit(numbers: Numbers) -> tuple[Section, ...]:
    """Every check over all published tables; the same numbers give the same findings."""
    return tuple(
        Section(
            key=key,
            title=words["title"],
            rule=words["rule"].format(**_NUMBERS),
            findings=tuple(_FIND[key](numbers)),
        )
        for key, words in _WORDS.items()
    )
