"""How an answer in words is compared with the gold answers: SQuAD 2.0's F1 and exact match."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bench.evaluation.metrics import answer_in, normalise
from bench.world.ability_items import NO_ANSWER

# What says that there is no answer: in our wording, and in the prompts of PromptBench.
_NO_ANSWERS = frozenset(normalise(text) for text in (NO_ANSWER, "unanswerable"))


def answer_of(generated: str) -> str:
    """The answer in a generated text; empty where it says that there is none."""
    answer = answer_in(generated)
    return "" if normalise(answer) in _NO_ANSWERS else answer


def exact_match(answer: str, golds: Sequence[str]) -> float:
    """1 where the normalised answer equals any gold answer's, else 0.

    Without gold answers the right answer is the empty one.
    """
    return max(float(normalise(answer) == normalise(gold)) for gold in golds or ("",))


def f1(answer: str, golds: Sequence[str]) -> float:
    """Largest F1 of the answer's words with those of a gold answer, both normalised.

    Without gold answers, or for an empty answer, it is the exact match.
    """
    return max(_overlap(normalise(answer).split(), normalise(g).split()) for g in golds or ("",))


def _overlap(given: Sequence[str], wanted: Sequence[str]) -> float:
    if not given or not wanted:
        return float(given == wanted)
    common = (Counter(given) & Counter(wanted)).total()
    return 2 * common / (len(given) + len(wanted))
