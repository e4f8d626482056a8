"""The threshold of retrieval, chosen on training edits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from editors.parts.lte.examples import LteExample, Row
from editors.parts.lte.memory import FactMemory
from editors.parts.text_vectors import TextVectors


def calibrated_threshold(vectors: TextVectors, examples: Sequence[LteExample]) -> float:
    """The threshold that maximises hit rate - false-hit rate, all examples edited at once.

    Questions about an edit are its own prompt and its generality probes, unrelated ones its
    locality probes. The threshold is rounded to half precision, as artefacts keep it.
    """
    memory = FactMemory(vectors.width, torch.device("cpu"))
    facts = [example.fact for example in examples]
    memory.append(facts, vectors(facts).cpu())
    owners, texts = _questions(examples, related=True)
    found, scores = memory.nearest(vectors(texts).cpu())
    _, unrelated = memory.nearest(vectors(_questions(examples, related=False)[1]).cpu())
    best = best_threshold(scores, found == torch.tensor(owners), unrelated)
    return float(torch.tensor(best).half())


def best_threshold(related: Tensor, right: Tensor, unrelated: Tensor) -> float:
    """The threshold t of the largest P(score > t and right) - P(unrelated score > t).

    Candidates lie in the middle between neighbouring scores, and just below and above all; of
    equals the lowest is taken.

    Args:
        related: best scores [R] of questions about an edit.
        right: bool [R], whether that score is the edit's own.
        unrelated: best scores [U] of other questions.
    """
    scores = torch.cat([related, unrelated]).double()
    weights = torch.cat(
        [right.double() / len(related), -torch.ones(len(unrelated)).double() / len(unrelated)]
    )
    levels, where = scores.unique(return_inverse=True)  # ascending
    gains = torch.zeros(len(levels)).double().index_add(0, where, weights)
    above = torch.cat([gains.flip(0).cumsum(0).flip(0), torch.zeros(1).double()])
    edges = torch.cat([levels[:1] - 1e-3, (levels[1:] + levels[:-1]) / 2, levels[-1:] + 1e-3])
    return float(edges[int(above.argmax())])


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
