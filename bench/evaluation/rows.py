"""Rows of a record: what the model answered, and the scores that follow from it without a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, TypedDict, get_args

from bench.evaluation import metrics
from bench.evaluation.metrics import Aspect, ItemScore, Measure, Scores

Phase = Literal["before", "after"]
# How the model was asked: with the target forced (retrieving by the text so far, or by the prompt
# only), or by decoding.
Channel = Literal["teacher_forced", "prompt_only", "generated"]

PHASES: tuple[Phase, ...] = get_args(Phase)
MEASURES: dict[Channel, tuple[Measure, ...]] = {
    "teacher_forced": ("token_accuracy", "exact"),
    "prompt_only": ("token_accuracy", "exact"),
    "generated": ("generated_exact",),
}


class TokenAnswer(TypedDict):
    """A prediction, as ids and as text."""

    ids: list[int]
    text: str


class ItemRow(TypedDict):
    """One item with the pristine model's answers and the edited model's."""

    aspect: Aspect
    kind: str
    prompt: str
    target: str
    target_ids: list[int]
    before: dict[Channel, TokenAnswer]
    after: dict[Channel, TokenAnswer]


class SampleRow(TypedDict):
    """One edit with all its items."""

    id: str
    block: int
    position: int  # of the edit within its block
    edit_seconds: float
    items: list[ItemRow]


def score(item: ItemRow, phase: Phase, channel: Channel, measure: Measure) -> float:
    """The score of one item, in [0, 1].

    Reliability and generality compare with the target, locality with the pristine model's own
    answer (teacher-forced at the same positions, or generated).
    """
    answer = item[phase][channel]
    local = item["aspect"] == "locality"
    if measure == "generated_exact":
        if local:
            return metrics.generated_agreement(answer["text"], item["before"]["generated"]["text"])
        return metrics.generated_exact(answer["text"], item["target"])
    reference = item["before"]["teacher_forced"]["ids"] if local else item["target_ids"]
    compare = metrics.exact if measure == "exact" else metrics.token_accuracy
    return compare(answer["ids"], reference)


def summarise(rows: Sequence[SampleRow]) -> dict[str, Any]:
    """The summary of a cell, computed from its rows alone.

    `scores[phase][channel][measure]` holds reliability, generality, locality and their average;
    `kinds` holds the same by `aspect/kind`. Scores are in [0, 1]; channels that were not asked are
    absent.
    """
    return {
        "samples": len(rows),
        "blocks": len({row["block"] for row in rows}),
        "items": sum(len(row["items"]) for row in rows),
        "scores": _table(rows, lambda s: metrics.with_average(_cell(s, metrics.sample_scores))),
        "kinds": _table(rows, lambda s: _cell(s, metrics.kind_scores)),
    }


Scored = list[list[ItemScore]]  # per sample, per item


def _table(rows: Sequence[SampleRow], reduce: Callable[[Scored], Scores]) -> dict[str, Any]:
    """Table of phase -> channel -> measure -> reduced scores, for every channel that was asked."""
    table: dict[str, Any] = {phase: {} for phase in PHASES}
    for phase, channel in _asked(rows):
        table[phase][channel] = {
            measure: reduce([_scored(row, phase, channel, measure) for row in rows])
            for measure in MEASURES[channel]
        }
    return table


def _asked(rows: Sequence[SampleRow]) -> Iterator[tuple[Phase, Channel]]:
    """Every row is asked alike, so the first item tells which channels there are."""
    for row in rows[:1]:
        for phase in PHASES:
            yield from (
                (phase, channel) for channel in MEASURES if channel in row["items"][0][phase]
            )


def _scored(row: SampleRow, phase: Phase, channel: Channel, measure: Measure) -> list[ItemScore]:
    return [
        ItemScore(item["aspect"], item["kind"], score(item, phase, channel, measure))
        for item in row["items"]
    ]


def _cell(scored: Scored, of_sample: Callable[[Iterable[ItemScore]], Scores]) -> Scores:
    return metrics.cell_scores(of_sample(items) for items in scored)
