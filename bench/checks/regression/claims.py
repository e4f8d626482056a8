"""The paper's claims, judged on its own numbers and on ours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path

from bench.checks.claims import CLAIMS, Claim, Evidence, Exhibit, Judgement, judge
from bench.core.files import write_text
from bench.core.published import tables_folder

PINS = "claims.json"  # verdicts that are known, in tables/reference


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """One claim in one table or figure, twice."""

    claim: Claim
    exhibit: Exhibit
    published: Judgement
    ours: Judgement

    @property
    def key(self) -> str:
        """`best-average/table1`, the same from version to version."""
        return f"{self.claim.key}/{self.exhibit.key}"

    @property
    def pair(self) -> tuple[str, str]:
        """(on the published numbers, on ours)."""
        return self.published.verdict, self.ours.verdict


def verdicts(published: Evidence, ours: Evidence) -> Iterator[Verdicts]:
    """Every claim in each of its tables and figures."""
    for claim in CLAIMS:
        for theirs, own in zip(judge(claim, published), judge(claim, ours), strict=True):
            yield Verdicts(claim=claim, exhibit=theirs.exhibit, published=theirs, ours=own)


def pinned() -> dict[str, tuple[str, str]] | None:
    """The known verdicts by key; None where none are committed."""
    try:
        text = _file().read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return {key: (str(pair[0]), str(pair[1])) for key, pair in json.loads(text).items()}


def pin(found: Mapping[str, tuple[str, str]], path: Path) -> Path:
    """Write verdicts as the known ones, a claim a line.

    Raises:
        OSError: the file cannot be written.
    """
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(pair)}" for key, pair in found.items())
    return write_text(path, f"{{\n{lines}\n}}\n")


def _file() -> Traversable:
    return tables_folder("reference") / PINS
