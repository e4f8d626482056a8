"""The threshold of retrieval, chosen on training edits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from editors.parts.encoder import TextVectors
from editors.parts.lte.examples import LteExample, Row
from editors.parts.question_rates import Questions, rates
from editors.parts.retrieval_threshold import best_threshold


def calibrated_threshold(
    vectors: TextVectors, streams: Mapping[str, Sequence[LteExample]]
) -> float:
    """The threshold that maximises hit rate - false-hit rate, averaged over data sets.

    The edits of a data set are all in memory, as they will be at the end of a stream; edits of
    other data sets are not. Questions about an edit are its own prompt and its generality probes,
    unrelated ones its locality probes. The threshold is rounded to half precision, as artefacts
    keep it.
    """
    rates = [_rates(vectors, examples) for examples in streams.values()]
    scores, weights = (torch.cat(parts) for parts in zip(*rates, strict=True))
    return float(torch.tensor(best_threshold(scores, weights)).half())


def _rates(vectors: TextVectors, examples: Sequence[LteExample]) -> tuple[Tensor, Tensor]:
    """Best scores [R + U] and weights [R + U] of the questions of one stream."""
    facts = [example.fact for example in examples]
    related = list(zip(*_questions(examples, related=True), strict=True))
    _, unrelated = _questions(examples, related=False)
    return rates(vectors, Questions(facts, related, unrelated))


def _questions(examples: Sequence[LteExample], *, related: bool) -> tuple[list[int], list[str]]:
    """(number of its example, text) of each question."""
    asked = [
        (number, row.text)
        for number, example in enumerate(examples)
        for row in (_related(example) if related else _rows(example.locality))
    ]
    return [number for number, _ in asked], [text for _, text in asked]


def _related(example: LteExample) -> Iterable[Row]:
    return [example.reliability, *_rows(example.generality)]


def _rows(groups: Sequence[Sequence[Row]]) -> Iterable[Row]:
    return [row for group in groups for row in group]
