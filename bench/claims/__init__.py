"""What the paper claims of its tables, each claim as a predicate that any numbers can be put to."""

from bench.claims import ability, ablation, editing, times
from bench.claims.base import Case, Claim, Judgement, Values, judge

__all__ = ["CLAIMS", "Case", "Claim", "Judgement", "Values", "judge"]

CLAIMS: tuple[Claim, ...] = (*editing.CLAIMS, *ability.CLAIMS, *times.CLAIMS, *ablation.CLAIMS)
