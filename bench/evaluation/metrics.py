"""What every number of a table means: items, samples, cells.

An *item* is one probe of one sample. Its score is that of one measure; a sample's score is the
mean over all its items of one aspect (item-weighted, whatever their kinds), a cell's score the
mean over the samples that have such items (RECIPE, arXiv:2405.03279, section 4 and its released
evaluation).
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

PROTOCOL_VERSION = 1  # raised when any definition of this file changes; part of a cell's identity

Aspect = Literal["reliability", "generality", "locality"]
Measure = Literal["token_accuracy", "exact", "generated_exact"]
Scores = dict[str, float]

ASPECTS: tuple[Aspect, ...] = get_args(Aspect)

# The measures of "natural" generation stop where an answer ends by itself: at a new line or at a
# full stop that is followed by white space and does not belong to an initial ("J. R. R. Tolkien").
ANSWER_END = re.compile(r"\n|(?<!\b[A-Z])\.(?=\s)")
MAX_ANSWER_TOKENS = 20  # ours: well above the longest embedded target, bounds a rambling model
# Ours; a task instruction in front of the bare question or cloze.
CONTEXT_GUIDED = (
    "Answer the question or complete the sentence with a short answer only.\nQuestion: {}\nAnswer:"
)

_ARTICLES = re.compile(r"\b(a|an|the)\b")


@dataclass(frozen=True)
class ItemScore:
    """The score of one item, in [0, 1], with what it belongs to."""

    aspect: Aspect
    kind: str
    value: float


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
    return float(normalise(answer_in(generated)) == normalise(reference))


def generated_agreement(generated: str, pristine: str) -> float:
    """1 where two generated texts hold the same answer: locality of the model's own greedy answer.

    The pristine model's answer is the reference, whatever the data set says the truth is.
    """
    return generated_exact(generated, answer_in(pristine))


def answer_in(generated: str) -> str:
    """The generated text up to the first natural end."""
    text = generated.strip()
    end = ANSWER_END.search(text)
    return text[: end.start()] if end else text


def normalise(text: str) -> str:
    """Lower case without punctuation, articles and extra white space, as SQuAD compares answers.

    Non-ASCII punctuation goes too. A text of nothing else is only folded and stripped.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    bare = "".join(c for c in folded if not _is_punctuation(c))
    words = " ".join(_ARTICLES.sub(" ", bare).split())
    return words or " ".join(folded.split())


def sample_scores(items: Iterable[ItemScore]) -> Scores:
    """Aspect -> mean over all items of that aspect; aspects without items are absent."""
    return _means((item.aspect, item.value) for item in items)


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


def _is_punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character).startswith("P")
