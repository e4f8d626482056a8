"""Reliability, generality and locality: what every score of a table means.

An *item* is one question of an edit sample, of one of three aspects:

* **reliability**: the edit request itself. Does the edited model give the edit's target?
* **generality**: questions that follow from the edit, as rephrasings. Does it give their targets?
* **locality**: questions that the edit does not concern. Does the edited model still answer as the
  *pristine* (unedited) model does? The reference is the pristine model's own answer at the same
  positions, whatever the truth is.

A `Measure` compares an answer with its reference, in [0, 1]: `token_accuracy` and `exact` on the
teacher-forced argmax, `generated_exact` on greedily decoded text. A sample's score is the mean over
all its items of one aspect (item-weighted, whatever their kinds), a cell's score the mean over the
samples that have such items (RECIPE, arXiv:2405.03279, section 4 and its released evaluation).
Everything here follows from the rows of a record, without a model.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal, NotRequired, TypedDict, get_args

from editors.parts.texts import ends_in, ends_inside

PROTOCOL_VERSION = 2  # raised when any definition of this file changes; part of a cell's identity

Aspect = Literal["reliability", "generality", "locality", "portability"]
Measure = Literal["token_accuracy", "exact", "generated_exact"]
Phase = Literal["before", "after"]  # the pristine and the edited model
# How the model was asked: with the target forced (retrieving by the text so far, or by the prompt
# only), or by greedy decoding.
Channel = Literal["teacher_forced", "prompt_only", "generated"]
Scores = dict[str, float]

ASPECTS: tuple[Aspect, ...] = ("reliability", "generality", "locality")  # of the average
# Portability where the unedited model knows the other facts that a question needs.
PORTABILITY_KNOWN = "portability_known"
PHASES: tuple[Phase, ...] = get_args(Phase)
MEASURES: dict[Channel, tuple[Measure, ...]] = {
    "teacher_forced": ("token_accuracy", "exact"),
    "prompt_only": ("token_accuracy", "exact"),
    "generated": ("generated_exact",),
}

# The measures of "natural" generation stop where an answer ends by itself: at a new line or at a
# full stop that is followed by white space and does not belong to an initial ("J. R. R. Tolkien").
# Full stops of other scripts end it whatever follows. Nothing ends before a letter or digit has
# come, what looks like an end inside the target is none, and one right after the target always is.
_FULL_STOP = "[\u3002\uff61\u0964\u06d4\u1362\u104b\u17d4]"  # of CJK, Devanagari, Urdu, ..
ANSWER_END = re.compile(rf"(?<=\S)[^\S\n]*\n|(?<=\S)(?<!\b[A-Z])\.(?=\s)|(?<=\S){_FULL_STOP}")
_END_OF_TARGET = re.compile(rf"\Z|\s*\n|(\.|(?<=\.))(?=\s)|{_FULL_STOP}")
MAX_ANSWER_TOKENS = 20  # ours: well above the longest embedded target, bounds a rambling model
# Ours; a task instruction in front of the bare question or cloze.
CONTEXT_GUIDED = (
    "Answer the question or complete the sentence with a short answer only.\nQuestion: {}\nAnswer:"
)
AGE_GROUPS = 10  # of edits, by the number of later edits; ours

_ARTICLES = re.compile(r"\b(a|an|the)\b")


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
    aliases: NotRequired[list[str]]  # other right answers, where one is decoded
    # Of a portability question that needs other facts: whether the unedited model knows them all.
    known: NotRequired[bool]
    before: dict[Channel, TokenAnswer]
    after: dict[Channel, TokenAnswer]


class SampleRow(TypedDict):
    """One edit with all its items."""

    id: str
    block: int
    position: int  # of the edit within its block
    edit_seconds: float
    items: list[ItemRow]


@dataclass(frozen=True)
class ItemScore:
    """The score of one item, in [0, 1], with what it belongs to."""

    aspect: Aspect
    kind: str
    value: float
    known: bool = True  # as in `ItemRow`


def score(item: ItemRow, phase: Phase, channel: Channel, measure: Measure) -> float:
    """The score of one item, in [0, 1].

    Locality compares with the pristine model's own answer, all other aspects with the target
    (teacher-forced at the same positions, or generated).
    """
    answer = item[phase][channel]
    local = item["aspect"] == "locality"
    if measure == "generated_exact":
        if local:
            pristine = item["before"]["generated"]["text"]
            return generated_agreement(answer["text"], pristine, item["target"])
        right = item["target"], *item.get("aliases", ())
        return max(generated_exact(answer["text"], text) for text in right)
    reference = item["before"]["teacher_forced"]["ids"] if local else item["target_ids"]
    compare = exact if measure == "exact" else token_accuracy
    return compare(answer["ids"], reference)


def token_accuracy(predicted: Sequence[int], reference: Sequence[int]) -> float:
    """Share of reference tokens that the teacher-forced argmax hits; both aligned, not empty."""
    _check_aligned(predicted, reference)
    return sum(p == r for p, r in zip(predicted, reference, strict=True)) / len(reference)


def exact(predicted: Sequence[int], reference: Sequence[int]) -> float:
    """1 where all reference tokens are hit, else 0 (the paper's equations 1-3)."""
    _check_aligned(predicted, reference)
    return float(tuple(predicted) == tuple(reference))


def generated_exact(generated: str, reference: str) -> float:
    """1 where the answer in `generated` equals `reference` after normalisation, else 0."""
    answer = answer_in(generated, reference)
    return float(bool(answer) and normalise(answer) == normalise(reference))


def generated_agreement(generated: str, pristine: str, target: str = "") -> float:
    """1 where two generated texts hold the same answer: locality of the greedy answer.

    Texts without an answer agree with nothing.
    """
    before = answer_in(pristine, target)
    same = normalise(answer_in(generated, target)) == normalise(before)
    return float(same and bool(before))


def answer_in(generated: str, target: str = "") -> str:
    """The generated text up to its first natural end, not counting as many as the target holds.

    It is the target where the text begins with that and ends there.
    """
    text, target = generated.strip(), target.strip()
    if target and text.startswith(target) and _END_OF_TARGET.match(text, len(target)):
        return target
    ends = ends_in(text, ANSWER_END)[ends_inside(target, ANSWER_END) :]
    return text[: ends[0]] if ends else text


def normalise(text: str) -> str:
    """Lower case without punctuation, articles and extra white space, as SQuAD compares answers.

    Non-ASCII punctuation goes too. A text of nothing else is only folded and stripped.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    bare = "".join(
        c for c in folded if c not in string.punctuation and unicodedata.category(c)[0] != "P"
    )
    words = " ".join(_ARTICLES.sub(" ", bare).split())
    return words or " ".join(folded.split())


def sample_scores(items: Iterable[ItemScore]) -> Scores:
    """Aspect -> mean over all items of that aspect; aspects without items are absent.

    Portability has a second mean, over the questions whose other facts the unedited model knows.
    """
    return _means((name, item.value) for item in items for name in _names(item))


def _names(item: ItemScore) -> Iterator[str]:
    yield item.aspect
    if item.aspect == "portability" and item.known:
        yield PORTABILITY_KNOWN


def kind_scores(items: Iterable[ItemScore]) -> Scores:
    """`aspect/kind` -> mean over the items of that kind."""
    return _means((f"{item.aspect}/{item.kind}", item.value) for item in items)


def cell_scores(samples: Iterable[Scores]) -> Scores:
    """Name -> mean over the samples that have it."""
    return _means(pair for sample in samples for pair in sample.items())


def with_average(scores: Scores) -> Scores:
    """The scores with `average`, the plain mean of the three aspects, where all are present."""
    if any(aspect not in scores for aspect in ASPECTS):
        return dict(scores)
    return {**scores, "average": sum(scores[aspect] for aspect in ASPECTS) / len(ASPECTS)}


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
        "scores": _by_measure(rows, sample_scores),
        "kinds": _by_measure(rows, kind_scores),
    }


def by_age(rows: Sequence[SampleRow], n_edits: int) -> Iterator[dict[str, Any]]:
    """Token accuracy by the number of later edits, in equal groups, youngest edits first."""
    groups = min(AGE_GROUPS, n_edits)
    for group in range(groups):
        first, last = group * n_edits // groups, (group + 1) * n_edits // groups
        members = [row for row in rows if first <= n_edits - 1 - row["position"] < last]
        yield {
            "from": first,
            "to": last - 1,
            "samples": len(members),
            "reliability": _mean_accuracy(members, "reliability"),
            "generality": _mean_accuracy(members, "generality"),
        }


def accuracy(item: ItemRow) -> float:
    """Teacher-forced token accuracy of an item after editing: the main column of the tables."""
    return score(item, "after", "teacher_forced", "token_accuracy")


def _mean_accuracy(rows: Sequence[SampleRow], aspect: Aspect) -> float | None:
    """Mean over samples of their mean over items, as cells have it; None without any item."""
    samples = (
        [accuracy(item) for item in row["items"] if item["aspect"] == aspect] for row in rows
    )
    means = [fmean(values) for values in samples if values]
    return fmean(means) if means else None


def item_scores(
    row: SampleRow, phase: Phase, channel: Channel, measure: Measure
) -> list[ItemScore]:
    """The scores of a sample's items."""
    return [
        ItemScore(
            item["aspect"],
            item["kind"],
            score(item, phase, channel, measure),
            known=item.get("known", True),
        )
        for item in row["items"]
    ]


def _by_measure(
    rows: Sequence[SampleRow], of_sample: Callable[[Iterable[ItemScore]], Scores]
) -> dict[str, Any]:
    """Table of phase -> channel -> measure -> scores of the cell, for channels that were asked."""
    asked = rows[0]["items"][0] if rows else None  # every item is asked through the same channels

    def of_cell(phase: Phase, channel: Channel, measure: Measure) -> Scores:
        samples = (of_sample(item_scores(row, phase, channel, measure)) for row in rows)
        return with_average(cell_scores(samples))

    return {
        phase: {
            channel: {measure: of_cell(phase, channel, measure) for measure in measures}
            for channel, measures in MEASURES.items()
            if asked is not None and channel in asked[phase]
        }
        for phase in PHASES
    }


def _means(pairs: Iterable[tuple[str, float]]) -> Scores:
    groups: dict[str, list[float]] = {}
    for name, value in pairs:
        groups.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in groups.items()}


def _check_aligned(predicted: Sequence[int], reference: Sequence[int]) -> None:
    if not reference or len(predicted) != len(reference):
        raise ValueError(
            f"Predicted and reference tokens must be aligned and not empty, "
            f"got {len(predicted)} and {len(reference)}."
        )
