"""The four general-ability sets, in the column order of the paper's Table 2."""

from __future__ import annotations

from bench.evaluation.general_ability.sets.anli import Anli
from bench.evaluation.general_ability.sets.base import AbilitySet
from bench.evaluation.general_ability.sets.csqa import CommonsenseQA
from bench.evaluation.general_ability.sets.mmlu import Mmlu
from bench.evaluation.general_ability.sets.squad2 import Squad2

__all__ = ["SETS", "AbilitySet"]

SETS: dict[str, AbilitySet] = {one.key: one for one in (CommonsenseQA(), Mmlu(), Anli(), Squad2())}
