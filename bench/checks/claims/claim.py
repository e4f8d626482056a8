"""A claim of the paper as a numeric predicate over numbers, and its verdict.

The numbers may be the published ones or our own: a claim reads both alike, from `Evidence`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from bench.core.published import PublishedCell

# Percent in Tables 1, 2 and 4 to 6, seconds in Table 3.
Values = Mapping[PublishedCell, float]
Lengths = Mapping[tuple[int, str], float]  # (tokens of a continuous prompt, metric) -> percent
Distances = Mapping[tuple[str, int], float]  # (space, tokens of a continuous prompt) -> ratio
Verdict = Literal["holds", "fails", "not tested"]

EDITING_TABLES = (1, 5, 6)  # one backbone each
RECIPE = "RECIPE"
# The paper's groups of editors; the claims do not concern other editors.
WEIGHT_EDITORS = ("FT", "MEND", "ROME", "MEMIT", "MALMEN", "WILKE")
RETRIEVAL_EDITORS = ("GRACE", "R-ROME", "LTE", RECIPE)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The numbers that claims are tested on: the paper's or ours. A missing number is absent."""

    tables: Values = field(default_factory=dict)
    # ROME and MEMIT without the covariance of their keys, in the cells of the tables.
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


# Yields the comparisons whose numbers are all present, for the number of a table or figure.
Cases = Callable[[Evidence, int], Iterator[Case]]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What the paper says, in our words; judged in each table or figure by itself."""

    key: str
    text: str
    source: str  # in the paper
    exhibits: tuple[Exhibit, ...]  # where it is judged
    cases: Cases


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the numbers of one table or figure say about a claim."""

    claim: Claim
    exhibit: Exhibit
    cases: tuple[Case, ...]

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
        """One case against it is enough for a claim to fail."""
        if not self.cases:
            return "not tested"
        return "fails" if self.broken else "holds"

    @property
    def figures(self) -> str:
        """Every case against the claim, or the nearest case if there is none."""
        if self.nearest is None:
            return "the numbers it compares are not there"
        if not self.broken:
            return f"nearest of {len(self.cases)}: {self.nearest}"
        against = "; ".join(map(str, self.broken))
        return f"{len(self.broken)} of {len(self.cases)} against it: {against}"


def judge(claim: Claim, evidence: Evidence) -> tuple[Judgement, ...]:
    """The claim in each of its tables and figures."""
    return tuple(
        Judgement(claim=claim, exhibit=exhibit, cases=tuple(claim.cases(evidence, exhibit.number)))
        for exhibit in claim.exhibits
    )


def select(
    values: Values, table: int, editors: Collection[str], *metrics: str
) -> Iterator[tuple[PublishedCell, float]]:
    """The numbers of some editors and metrics, in the order of the table."""
    for cell, value in values.items():
        if cell.table == table and cell.editor in editors and cell.metric in metrics:
            yield cell, value
