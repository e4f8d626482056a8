"""What an audit finds, and what a check is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from bench.core.published import Published, PublishedCell

Verdict = Literal["holds", "fails", "differs", "impossible", "noted", "not tested"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
MEANINGS: Mapping[Verdict, str] = {
    "holds": "the printed numbers bear it out",
    "fails": "the printed numbers contradict a claim of the paper, as it is worded here",
    "differs": "two printed numbers that should agree do not, by more than their rounding",
    "impossible": "a printed number cannot come about in the way that is named",
    "noted": "worth knowing; it contradicts nothing",
    "not tested": "what it needs is not printed",
}

Numbers = Mapping[PublishedCell, Published]  # all published tables


def shown(place: PublishedCell, number: Published) -> str:
    """A number with its spread, as the paper prints it: `98.27±0.15`."""
    return place.text(number.value) + ("" if number.std is None else f"±{place.text(number.std)}")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the audit."""

    place: str  # what it is about, unique within its check: `table5/ZSRE/1000`
    verdict: Verdict
    sentence: str
    numbers: Mapping[str, float] = field(default_factory=dict)  # in the units of the sentence


@dataclass(frozen=True, kw_only=True)
class Check:
    """A kind of question to the published tables."""

    key: str
    title: str
    rule: str  # what is compared and what counts, once for all its findings
    find: Callable[[Numbers], Iterator[Finding]]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A check with what it found, in the order of the tables."""

    check: Check
    findings: tuple[Finding, ...]

    def named(self) -> Iterator[tuple[str, Finding]]:
        """Each finding under its id, which stays the same from version to version."""
        for finding in self.findings:
            yield f"{self.check.key}/{finding.place}", finding
