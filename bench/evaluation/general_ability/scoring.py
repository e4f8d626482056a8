"""From an answer to a score: marks of single questions, rows of a record, and their summary.

Options are right or wrong. Answers in words have SQuAD 2.0's F1 and exact match, and the reciprocal
perplexity of the gold answer. The summary follows from the rows without a model.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import Any, Literal, NotRequired, TypedDict, cast, get_args

from bench.core.numerics import spread
from bench.evaluation.general_ability.sets import SETS, AbilityItem
from bench.evaluation.metrics import answer_in, normalise
from bench.world.ability_items import NO_ANSWER

# Raised when any definition of this package changes a score; part of a record's identity.
PROTOCOL_VERSION = 2

Measure = Literal["score", "f1", "exact"]
MEASURES: tuple[Measure, ...] = get_args(Measure)

# Texts that mean "there is no answer": in our wording, and in the prompts of PromptBench.
_NO_ANSWERS = frozenset(normalise(text) for text in (NO_ANSWER, "unanswerable"))

Numbered = Sequence[tuple[int, AbilityItem]]  # (index in the set, item)


class Mark(TypedDict):
    """How one question was answered.

    `score` is 1 or 0 for right or wrong options, and the reciprocal perplexity of the gold answer,
    in [0, 1], of questions without options; these have `f1` and `exact` of the decoded answer too.
    """

    prediction: int | str | None  # option, or words; None where the model's outputs are NaN
    score: float
    f1: NotRequired[float]
    exact: NotRequired[float]


class AbilityRow(Mark):
    """One question, answered."""

    task: str
    index: int  # of the question in its set
    group: str
    prompt: NotRequired[str]  # which of several, where a question is asked with each
    block: NotRequired[int]  # of edits, where questions are asked after each


def choice_mark(item: AbilityItem, prediction: int | None) -> Mark:
    """Of an item with options; `prediction` is None where the model's outputs are NaN."""
    return Mark(prediction=prediction, score=float(prediction == item.answer))


def reading_mark(item: AbilityItem, generated: str, *, log_probability: float, tokens: int) -> Mark:
    """Of an item without options; `log_probability` is the sum over the gold answer's `tokens`."""
    if not math.isfinite(log_probability):
        return Mark(prediction=None, score=0.0, f1=0.0, exact=0.0)
    return Mark(
        prediction=answer_of(generated, item.target),
        score=math.exp(log_probability / tokens),
        f1=best(f1, generated, item),
        exact=best(exact_match, generated, item),
    )


def best(
    measure: Callable[[str, Sequence[str]], float], generated: str, item: AbilityItem
) -> float:
    """The largest measure over the gold answers of a text that was generated.

    The answer in it ends as that gold answer allows.
    """
    if not item.golds:
        return measure(answer_of(generated, item.target), ())
    return max(measure(answer_of(generated, gold), (gold,)) for gold in item.golds)


def row_of(
    task: str, index: int, item: AbilityItem, mark: Mark, *, prompt: str | None = None
) -> AbilityRow:
    """The row of a marked question."""
    which = {} if prompt is None else {"prompt": prompt}
    return cast(AbilityRow, {"task": task, "index": index, "group": item.group, **mark, **which})


def answer_of(generated: str, target: str = "") -> str:
    """The answer in a generated text; empty where it says that there is none."""
    answer = answer_in(generated, target)
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


def summarise(rows: Sequence[AbilityRow]) -> dict[str, Any]:
    """The summary of a record, computed from its rows alone; all scores are in [0, 1].

    `tasks[key]` has the mean over all questions of each measure (micro), `macro`, the mean over
    the groups' mean scores, and the groups. Where every question was asked with several prompts,
    `prompts` has the mean score of each, and `spread` their sample standard deviation. `average`
    is the plain mean of the tasks' scores.
    """
    by_task = {key: [row for row in rows if row["task"] == key] for key in SETS}
    tasks = {key: _task(part) for key, part in by_task.items() if part}
    return {
        "items": len(rows),
        "unanswered": sum(row["prediction"] is None for row in rows),
        "tasks": tasks,
        "average": fmean(task["score"] for task in tasks.values()),
    }


def _task(rows: Sequence[AbilityRow]) -> dict[str, Any]:
    names = dict.fromkeys(row["group"] for row in rows)
    groups = {name: _means(row for row in rows if row["group"] == name) for name in names}
    return {
        "questions": len({row["index"] for row in rows}),
        **_means(rows),
        "macro": fmean(group["score"] for group in groups.values()),
        "groups": groups,
        **_by_prompt(rows),
    }


def _by_prompt(rows: Sequence[AbilityRow]) -> dict[str, Any]:
    names = dict.fromkeys(row["prompt"] for row in rows if "prompt" in row)
    if not names:
        return {}
    scores = {n: fmean(r["score"] for r in rows if r.get("prompt") == n) for n in names}
    return {"prompts": scores, "spread": spread(list(scores.values())).std}


def _means(rows: Iterable[AbilityRow]) -> dict[str, Any]:
    """Number of rows, and the mean of each measure that they have."""
    rows = list(rows)
    means = {name: fmean(row[name] for row in rows) for name in MEASURES if name in rows[0]}
    return {"items": len(rows)} | means


def _overlap(given: Sequence[str], wanted: Sequence[str]) -> float:
    if not given or not wanted:
        return float(given == wanted)
    common = (Counter(given) & Counter(wanted)).total()
    return 2 * common / (len(given) + len(wanted))
