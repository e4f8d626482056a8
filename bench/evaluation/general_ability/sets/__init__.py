"""The four general-ability sets, in the column order of the paper's Table 2."""

from __future__ import annotations

from bench.evaluation.general_ability.sets.anli import Anli
from bench.evaluation.general_ability.sets.base import AbilityItem, AbilitySet
from bench.evaluation.general_ability.sets.csqa import CommonsenseQA
from bench.evaluation.general_ability.sets.mmlu import Mmlu
from bench.evaluation.general_ability.sets.squad2 import Squad2

__all__ = ["SETS", "AbilityItem", "AbilitySet"]

SETS: dict[str, AbilitySet] = {s.key: s for s in (CommonsenseQA(), Mmlu(), Anli(), Squad2())}
