"""The paper's claims put to its own tables."""

from __future__ import annotations

from collections.abc import Iterator

from bench.checks.audit.findings import Check, Finding, Numbers
from bench.checks.claims import PRINTED, Evidence, Judgement, judge


def find(numbers: Numbers) -> Iterator[Finding]:
    """Each claim in each of its tables."""
    printed = Evidence(tables={place: number.value for place, number in numbers.items()})
    for claim in PRINTED:
        yield from map(_finding, judge(claim, printed))


def _finding(judgement: Judgement) -> Finding:
    claim, nearest = judgement.claim, judgement.nearest
    return Finding(
        place=f"{claim.key}/{judgement.exhibit.key}",
        verdict=judgement.verdict,
        sentence=f"{judgement.exhibit}: {claim.text} ({claim.source}); {judgement.figures}.",
        numbers={
            "compared": len(judgement.cases),
            "against": len(judgement.broken),
            **({"smallest_margin": nearest.margin} if nearest else {}),
        },
    )


CHECK = Check(
    key="claims",
    title="Claims about the tables",
    rule="Each claim is a numeric predicate in our words, in parentheses what it is from; one "
    "comparison against it is enough for it to fail.",
    find=find,
)
