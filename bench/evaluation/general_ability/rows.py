"""Rows of an ability record, and the scores that follow from them without a model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal, NotRequired, TypedDict, get_args

from bench.core.numerics import spread
from bench.evaluation.general_ability.items import AbilityItem
from bench.evaluation.general_ability.reading import answer_of, exact_match, f1
from bench.evaluation.general_ability.sets import SETS

# Raised when any definition of this package changes a score; part of a record's identity.
PROTOCOL_VERSION = 1

Measure = Literal["score", "f1", "exact"]
MEASURES: tuple[Measure, ...] = get_args(Measure)

Numbered = Sequence[tuple[int, AbilityItem]]  # (index in the set, item)


class AbilityRow(TypedDict):
    """One question, answered.

    `score` is 1 or 0 for right or wrong options, and the reciprocal perplexity of the gold answer,
    in [0, 1], of questions without options; these have `f1` and `exact` of the decoded answer too.
    """

    task: str
    index: int  # of the question in its set
    group: str
    prediction: int | str | None  # option, or words; None where the model answered no numbers
    score: float
    f1: NotRequired[float]
    exact: NotRequired[float]
    prompt: NotRequired[str]  # which of several, where a question is asked with each


@dataclass(frozen=True, kw_only=True)
class Mark:
    """How one question was answered; the fields are those of a row."""

    prediction: int | str | None
    score: float
    f1: float | None = None
    exact: float | None = None


def choice_mark(item: AbilityItem, prediction: int | None) -> Mark:
    """Of an item with options; `prediction` is None where the model answered no numbers."""
    return Mark(prediction=prediction, score=float(prediction == item.answer))


def reading_mark(item: AbilityItem, generated: str, *, log_probability: float, tokens: int) -> Mark:
    """Of an item without options.

    Args:
        item: the question.
        generated: the decoded text.
        log_probability: of the first gold answer, summed over its tokens.
        tokens: how many these are.
    """
    if not math.isfinite(log_probability):
        return Mark(prediction=None, score=0.0, f1=0.0, exact=0.0)
    answer = answer_of(generated)
    return Mark(
        prediction=answer,
        score=math.exp(log_probability / tokens),
        f1=f1(answer, item.golds),
        exact=exact_match(answer, item.golds),
    )


def row_of(
    task: str, index: int, item: AbilityItem, mark: Mark, *, prompt: str | None = None
) -> AbilityRow:
    """The row of a marked question."""
    row = AbilityRow(
        task=task, index=index, group=item.group, prediction=mark.prediction, score=mark.score
    )
    if mark.f1 is not None and mark.exact is not None:
        row |= {"f1": mark.f1, "exact": mark.exact}
    if prompt is not None:
        row["prompt"] = prompt
    return row


def summarise(rows: Sequence[AbilityRow]) -> dict[str, Any]:
    """The summary of a record, computed from its rows alone; all scores are in [0, 1].

    `tasks[key]` has the mean over all questions of each measure (micro), `macro`, the mean over
    the groups' mean scores, and the groups. Where every question was asked with several prompts,
    `prompts` has the mean score of each, and `spread` their sample standard deviation. `average`
    is the plain mean of the tasks' scores.
    """
    tasks = {key: _task([row for row in rows if row["task"] == key]) for key in SETS}
    tasks = {key: task for key, task in tasks.items() if task}
    return {
        "items": len(rows),
        "unanswered": sum(row["prediction"] is None for row in rows),
        "tasks": tasks,
        "average": fmean(task["score"] for task in tasks.values()),
    }


def _task(rows: Sequence[AbilityRow]) -> dict[str, Any]:
    if not rows:
        return {}
    names = dict.fromkeys(row["group"] for row in rows)
    groups = {name: _means(row for row in rows if row["group"] == name) for name in names}
    macro = fmean(group["score"] for group in groups.values())
    questions = len({row["index"] for row in rows})
    return (
        {"questions": questions}
        | _means(rows)
        | {"macro": macro, "groups": groups}
        | _by_prompt(rows)
    )


def _by_prompt(rows: Sequence[AbilityRow]) -> dict[str, Any]:
    names = dict.fromkeys(row["prompt"] for row in rows if "prompt" in row)
    if not names:
        return {}
    scores = {n: fmean(r["score"] for r in rows if r.get("prompt") == n) for n in names}
    return {"prompts": scores, "spread": spread(list(scores.values())).std}


def _means(rows: Iterable[AbilityRow]) -> dict[str, Any]:
    """Number of rows, and the mean of each measure that they have."""
    found = list(rows)
    means: dict[str, float] = {
        name: fmean(row[name] for row in found) for name in MEASURES if name in found[0]
    }
    return {"items": len(found), **means}
