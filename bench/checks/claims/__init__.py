"""What the paper claims, each claim as a predicate that any numbers can be put to."""

from bench.checks.claims import ability, ablation, covariance, editing, figures, times
from bench.checks.claims.base import Case, Claim, Evidence, Exhibit, Judgement, Values, judge

__all__ = [
    "CLAIMS",
    "PRINTED",
    "Case",
    "Claim",
    "Evidence",
    "Exhibit",
    "Judgement",
    "Values",
    "judge",
]

# Those that the printed tables can decide.
PRINTED: tuple[Claim, ...] = (*editing.CLAIMS, *ability.CLAIMS, *times.CLAIMS, *ablation.CLAIMS)
CLAIMS: tuple[Claim, ...] = (*PRINTED, *covariance.CLAIMS, *figures.CLAIMS)
