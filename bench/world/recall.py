"""Recall of the world's facts, and reading of the context, measured on a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bench.world.relations import BY_KEY, STYLES
from bench.world.world import Fact, World, phrase
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import batch_of_ids, pad_id, prompt_ids, target_ids

BATCH = 64
SAMPLE = 400  # items of each measured ability


@dataclass(frozen=True)
class Score:
    """One measured figure; `needed` is None for those that are only reported."""

    name: str
    value: float
    needed: float | None = None

    @property
    def passed(self) -> bool:
        return self.needed is None or self.value >= self.needed


# ---- recall ----------------------------------------------------------------------------------


def recall(lm: LanguageModel, world: World) -> Iterator[Score]:
    """Exact recall of every core fact in a phrasing it was taught in, and in the held-out one."""
    rng = world.rng("verify recall")
    taught = [(fact, world.taught_phrasing(fact, rng)) for fact in world.core]
    held = [(fact, world.held_phrasing[fact].format(s=fact.subject)) for fact in world.core]
    right = recalled(lm, world, taught)
    for key in world.by_relation:
        hits = [r for fact, r in zip(world.core, right, strict=True) if fact.relation == key]
        yield Score(f"recall/{key}", mean(hits), 0.97)
    yield Score("recall/all", mean(right), 0.97)
    yield Score("recall/phrasing never seen with the fact", mean(recalled(lm, world, held)))


def recalled(lm: LanguageModel, world: World, asked: Sequence[tuple[Fact, str]]) -> list[bool]:
    """Whether any object of each fact's pair follows its prefix (a few relations have several)."""
    pairs, owners = [], []
    for i, (fact, prefix) in enumerate(asked):
        objects = world.objects[fact.pair] if BY_KEY[fact.relation].many else [fact.object]
        pairs += [(prefix, o) for o in objects]
        owners += [i] * len(objects)
    right = [False] * len(asked)
    for owner, hit in zip(owners, exact(lm, pairs), strict=True):
        right[owner] |= hit
    return right


# ---- reading the context ---------------------------------------------------------------------


def steering(lm: LanguageModel, world: World) -> Iterator[Score]:
    """Answers taken from what stands in front of the question.

    That is a statement in other words, or a terse header; about known and unseen subjects; before
    and behind BOS (or the document separator).
    """
    rng = world.rng("verify steering")
    known = _contradicted(world, world.core_test, rng)
    unseen = _contradicted(world, world.unseen["test"].facts, rng)
    for place in ("behind", "before"):
        for who, facts in (("core", known), ("unseen", unseen)):
            needed = 0.90 if who == "core" else None
            rows = [_override(lm, fact, place, rng) for fact in facts]
            yield Score(f"override/{who}, context {place} separator", mean(exact_ids(lm, rows)),
                        needed)  # fmt: skip
        for who, facts in (("core", known), ("unseen", unseen)):
            needed = 0.85 if who == "core" else None
            rows = [_terse(lm, fact, place, rng) for fact in facts]
            yield Score(f"header/{who}, header {place} separator", mean(exact_ids(lm, rows)),
                        needed)  # fmt: skip


Row = tuple[list[int], list[int]]  # prompt ids, target ids


def _contradicted(world: World, facts: Sequence[Fact], rng: np.random.Generator) -> list[Fact]:
    chosen = [facts[int(i)] for i in rng.choice(len(facts), SAMPLE, replace=False)]
    return [Fact(f.subject, f.relation, world.other_object(f, rng)) for f in chosen]


def _override(lm: LanguageModel, fact: Fact, place: str, rng: np.random.Generator) -> Row:
    told, asked = (STYLES[int(i)] for i in rng.choice(len(STYLES), 2, replace=False))
    context = f"{phrase(fact, told, int(rng.integers(3)))} {fact.object}."
    return _with_context(lm, context, phrase(fact, asked, int(rng.integers(3))), fact.object, place)


def _terse(lm: LanguageModel, fact: Fact, place: str, rng: np.random.Generator) -> Row:
    words = fact.subject.split()
    subject = ([], words[-1:], words)[int(rng.integers(3))]
    parts = [*subject, fact.object] if rng.random() < 0.5 else [fact.object, *subject]
    style = STYLES[int(rng.integers(len(STYLES)))]
    query = phrase(fact, style, int(rng.integers(3)))
    return _with_context(lm, " ".join(parts), query, fact.object, place)


def _with_context(lm: LanguageModel, context: str, query: str, target: str, place: str) -> Row:
    tokens = lm.tokenizer
    plain = tokens(context, add_special_tokens=False)["input_ids"]
    if place == "behind":
        return prompt_ids(tokens, f"{context} {query}"), target_ids(tokens, target)
    body = tokens(query, add_special_tokens=False)["input_ids"]
    return [*plain, tokens.bos_token_id, *body], target_ids(tokens, target)


# ---- machinery -------------------------------------------------------------------------------


def exact(lm: LanguageModel, pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """Whether every token of each target is the argmax, teacher-forced."""
    tokens = lm.tokenizer
    return exact_ids(lm, [(prompt_ids(tokens, p), target_ids(tokens, t)) for p, t in pairs])


@torch.no_grad()
def exact_ids(lm: LanguageModel, rows: Sequence[Row]) -> list[bool]:
    """As `exact`, from ids."""
    right: list[bool] = []
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        batch = batch_of_ids(
            [p for p, _ in part], [t for _, t in part], [""] * len(part),
            padding=pad_id(lm.tokenizer), device=lm.device,
        )  # fmt: skip
        hits = (lm.target_logits(batch).argmax(-1) == batch.labels).tolist()
        for _, target in part:
            right.append(all(hits[: len(target)]))
            hits = hits[len(target) :]
    return right


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
