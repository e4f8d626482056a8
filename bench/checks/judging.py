"""What judging a claim needs: evidence, comparisons, and the verdict that follows from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from bench.core.published import PublishedCell

# Percent in Tables 1, 2 and 4 to 6, seconds in Table 3.
Values = Mapping[PublishedCell, float]
Lengths = Mapping[tuple[int, str], float]  # (tokens of a continuous prompt, metric) -> percent
Distances = Mapping[tuple[str, int], float]  # (space, tokens of a continuous prompt) -> ratio
Verdict = Literal["holds", "fails", "not tested"]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The numbers that claims are tested on: the paper's or ours. A missing number is absent."""

    tables: Values = field(default_factory=dict)
    # ROME and MEMIT with and without the covariance of their keys, over the same seeds.
    with_covariance: Values = field(default_factory=dict)
    without_covariance: Values = field(default_factory=dict)
    lengths: Lengths = field(default_factory=dict)  # Figure 3
    # Figure 4: median over tokens of the distance to the nearest name, over that between names.
    distances: Distances = field(default_factory=dict)


class Exhibit(NamedTuple):
    """A table or a figure of the paper."""

    kind: Literal["table", "figure"]
    number: int

    @property
    def key(self) -> str:
        """`table1`."""
        return f"{self.kind}{self.number}"

    def __str__(self) -> str:
        return f"{self.kind.capitalize()} {self.number}"


@dataclass(frozen=True)
class Case:
    """One comparison that a claim makes.

    `margin` is above 0 where the claim holds, in the unit of the compared numbers, so that the
    smallest margin is the nearest case, or the farthest from holding.
    """

    where: str
    figures: str
    margin: float

    @property
    def holds(self) -> bool:
        return self.margin > 0

    def __str__(self) -> str:
        return f"{self.where}: {self.figures}"


class AbsentError(LookupError):
    """A number that a comparison needs is not there; its message names it."""


# What a claim compares: one comparison for each row of a table or a figure, whose number is given.
# None: the numbers of a row leave nothing to compare. An AbsentError: one of them is not there.
Rows = Callable[[Evidence, int], Iterable[Any]]
Compare = Callable[[Evidence, Any], Case | None]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What the paper says, in our words; judged in each table or figure by itself."""

    key: str
    text: str
    source: str  # in the paper
    exhibits: tuple[Exhibit, ...]  # where it is judged
    rows: Rows
    compare: Compare


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the numbers of one table or figure say about a claim."""

    claim: Claim
    exhibit: Exhibit
    cases: tuple[Case, ...]
    absent: tuple[str, ...] = ()  # numbers without which a row is not compared

    @property
    def broken(self) -> tuple[Case, ...]:
        """The cases against the claim."""
        return tuple(case for case in self.cases if not case.holds)

    @property
    def nearest(self) -> Case | None:
        """The case with the smallest margin; None where nothing could be compared."""
        return min(self.cases, key=lambda case: case.margin, default=None)

    @property
    def verdict(self) -> Verdict:
        """One case against it is enough for a claim to fail; to hold it needs all its rows."""
        if self.broken:
            return "fails"
        return "not tested" if self.absent or not self.cases else "holds"

    @property
    def figures(self) -> str:
        """Every case against the claim, or what is absent, or the nearest case."""
        if self.broken:
            against = "; ".join(map(str, self.broken))
            return f"{len(self.broken)} of {len(self.cases)} against it: {against}"
        if self.absent:
            more = f" and {len(self.absent) - 1} more" if len(self.absent) > 1 else ""
            return f"not there: {self.absent[0]}{more}"
        if self.nearest is None:
            return "the numbers leave nothing to compare"
        return f"nearest of {len(self.cases)}: {self.nearest}"


def judge(claim: Claim, evidence: Evidence) -> tuple[Judgement, ...]:
    """The claim in each of its tables and figures."""
    return tuple(_judgement(claim, evidence, exhibit) for exhibit in claim.exhibits)


def _judgement(claim: Claim, evidence: Evidence, exhibit: Exhibit) -> Judgement:
    cases, absent = [], []
    for row in claim.rows(evidence, exhibit.number):
        try:
            case = claim.compare(evidence, row)
        except AbsentError as error:
            absent.append(str(error))
        else:
            cases += [] if case is None else [case]
    return Judgement(claim=claim, exhibit=exhibit, cases=tuple(cases), absent=tuple(absent))
