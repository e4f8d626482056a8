"""What the paper claims, each claim as a predicate over any numbers."""

from bench.checks.claims.claim import Case, Claim, Evidence, Exhibit, Judgement, Values, judge
from bench.checks.claims.judging import PRINTED, UNPRINTED

__all__ = [
    "CLAIMS",
    "PRINTED",
    "UNPRINTED",
    "Case",
    "Claim",
    "Evidence",
    "Exhibit",
    "Judgement",
    "Values",
    "judge",
]

CLAIMS: tuple[Claim, ...] = (*PRINTED, *UNPRINTED)
