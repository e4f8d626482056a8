"""Scores of a follower on held-out training samples, edited all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch

from editors.parts.encoder import TextVectors
from editors.parts.language_model import LanguageModel
from editors.parts.lte.examples import Ids, LteExample, Row
from editors.parts.lte.memory import NONE, FactMemory
from editors.parts.lte.objective import LteObjective

_CHUNK = 64  # rows of one forward; results do not depend on it
_ASPECTS = ("reliability", "generality", "locality")


@dataclass(frozen=True)
class _Asked:
    """A question as the follower reads it, and what it should answer."""

    aspect: str
    prompt: Ids
    target: Ids
    wanted: Ids
    hit: bool  # retrieved its own edit, or nothing for locality


class Validator:
    """Reliability, generality, locality and retrieval rates; see `scores`.

    The encoder is frozen, so what each question retrieves is looked up once. Retrieval sees
    prompts only; locality compares with the pristine model's argmax, with teacher forcing.
    """

    def __init__(
        self,
        objective: LteObjective,
        vectors: TextVectors,
        held_out: Mapping[str, Sequence[LteExample]],
        threshold: float | None,
    ) -> None:
        self._objective = objective
        self._edits = {name: len(examples) for name, examples in held_out.items()}
        self._asked = {
            name: self._questions(vectors, examples, threshold)
            for name, examples in held_out.items()
        }

    def scores(self) -> dict[str, dict[str, float]]:
        """Of each data set: token accuracies of the follower, and `hit_*` retrieval rates.

        `hit_*` are the shares of questions that find their own edit, or nothing for locality.
        """
        return {
            name: {"edits": self._edits[name]} | self._scores(asked)
            for name, asked in self._asked.items()
        }

    def _scores(self, asked: Sequence[_Asked]) -> dict[str, float]:
        predicted = self._predicted(self._objective.follower, [(a.prompt, a.target) for a in asked])
        found: dict[str, float] = {}
        for aspect in _ASPECTS:
            rows = [
                (question, ids)
                for question, ids in zip(asked, predicted, strict=True)
                if question.aspect == aspect
            ]
            found[aspect] = fmean(_accuracy(ids, question.wanted) for question, ids in rows)
            found[f"hit_{aspect}"] = fmean(question.hit for question, _ in rows)
        return found

    def _questions(
        self, vectors: TextVectors, examples: Sequence[LteExample], threshold: float | None
    ) -> list[_Asked]:
        memory = FactMemory(vectors.width, self._objective.pristine.device)
        facts = [example.fact for example in examples]
        memory.append(facts, vectors(facts))
        rows = _rows(examples)
        found = memory.retrieve(vectors([row.text for _, _, row in rows]), threshold).tolist()
        unrelated = [row.plain for _, aspect, row in rows if aspect == "locality"]
        kept = iter(self._predicted(self._objective.pristine, unrelated))
        asked = []
        for (owner, aspect, row), number in zip(rows, found, strict=True):
            prefix = () if number == NONE else examples[number].prefix
            prompt, target = row.behind(prefix, self._objective.leading) if prefix else row.plain
            wanted = next(kept) if aspect == "locality" else target
            asked.append(_Asked(aspect, prompt, target, wanted, number == owner))
        return asked

    @torch.no_grad()
    def _predicted(self, lm: LanguageModel, rows: Sequence[tuple[Ids, Ids]]) -> list[list[int]]:
        """The argmax at each target token of (prompt, target) rows."""
        found: list[list[int]] = []
        for start in range(0, len(rows), _CHUNK):
            batch = self._objective.batch(rows[start : start + _CHUNK])
            counts = [len(target) for target in batch.target_ids]
            predicted = lm.target_logits(batch).argmax(-1).split(counts)
            found += [part.tolist() for part in predicted]
        return found


def _rows(examples: Sequence[LteExample]) -> list[tuple[int, str, Row]]:
    """(edit that should be found, aspect, question) of all questions."""
    rows = []
    for number, example in enumerate(examples):
        rows.append((number, "reliability", example.reliability))
        rows += [(number, "generality", row) for group in example.generality for row in group]
        rows += [(NONE, "locality", row) for group in example.locality for row in group]
    return rows


def _accuracy(predicted: Ids, wanted: Ids) -> float:
    return fmean(a == b for a, b in zip(predicted, wanted, strict=True))
