"""What retrieval finds for questions whose facts are known, so that a threshold can be chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editors.base import EditSample
from editors.parts.encoder import TextVectors
from editors.parts.lte.memory import FactMemory
from editors.parts.retrieval_threshold import best_threshold, hit_weights


@dataclass(frozen=True)
class Questions:
    """One stream of facts, all in memory, as they will be at its end."""

    keys: Sequence[str]  # what each fact is found by
    related: Sequence[tuple[int, str]]  # (number of its fact, text)
    unrelated: Sequence[str]

    @classmethod
    def of(cls, samples: Sequence[EditSample]) -> Questions:
        """Facts that are found by their prompts; related are those and the generality probes."""
        related = [
            (number, text)
            for number, sample in enumerate(samples)
            for text in (sample.request.prompt, *(probe.prompt for probe in sample.generality))
        ]
        unrelated = [probe.prompt for sample in samples for probe in sample.locality]
        return cls([sample.request.prompt for sample in samples], related, unrelated)


def rates(vectors: TextVectors, questions: Questions) -> tuple[Tensor, Tensor]:
    """Best scores [R + U] of all questions, and what each adds to hit rate - false-hit rate."""
    memory = FactMemory(vectors.width, torch.device("cpu"))
    memory.append(questions.keys, vectors(questions.keys).cpu())
    owners = torch.tensor([number for number, _ in questions.related])
    found, related = memory.nearest(vectors([text for _, text in questions.related]).cpu())
    _, unrelated = memory.nearest(vectors(questions.unrelated).cpu())
    return torch.cat([related, unrelated]), hit_weights(found == owners, len(unrelated))


def chosen_threshold(vectors: TextVectors, samples: Sequence[EditSample]) -> float:
    """The threshold of the largest hit rate - false-hit rate over a stream of these edits."""
    usable = [sample for sample in samples if sample.generality and sample.locality]
    if not usable:
        raise ValueError("A threshold is chosen on edits with probes of both kinds, got none.")
    return best_threshold(*rates(vectors, Questions.of(usable)))
