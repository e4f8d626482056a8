"""What a backbone knows and can read, measured; and revision of the facts that it misses (ours).

A relation may have thirty facts, so that a single wrong one is too many. A backbone that recalls a
relation too rarely is asked every core fact in every phrasing it was taught in; a short training at
a low rate draws part of its facts from those that are answered wrongly.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from bench.world.corpus import PHASES, Corpus, Document, asking
from bench.world.training import pretrain
from bench.world.training.pretrain import CausalRows, Training
from bench.world.world import BY_KEY, STYLES, Fact, World, phrase, pick
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import batch_of_ids, pad_id, prompt_ids, target_ids

BATCH = 64
SAMPLE = 400  # items of each measured ability
ROUNDS = 6  # of revision, at most
# A missed phrasing is repeated so often in a round, unless that would be more than a fifth of all
# documents: repeated more often, few facts are learned at the cost of many.
REPETITIONS = 10
MOST = 0.2
TOKENS_OF_A_DOCUMENT = 25  # about, with any tokenizer
REVISION_TRAINING = Training(steps=150, rows=32, width=128, lr=2e-4, warmup=20, begin=PHASES[-1])

Row = tuple[list[int], list[int]]  # prompt ids, target ids
Missed = tuple[str, str]  # a phrasing, and the object that should follow it


@dataclass(frozen=True)
class Score:
    """A measured number; `needed` is None for one that is only reported."""

    name: str
    value: float
    needed: float | None = None

    @property
    def passed(self) -> bool:
        return self.needed is None or self.value >= self.needed


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
    """Answers taken from the context in front of the question.

    It is a statement in other words, or a terse header; about known and unseen subjects; before and
    after BOS (or the document separator).
    """
    rng = world.rng("verify steering")
    known = _contradicted(world, world.core_test, rng)
    unseen = _contradicted(world, world.unseen["test"].facts, rng)
    for place in ("behind", "before"):
        for what, front, row_of, needed in (
            ("override", "context", _override, 0.90), ("header", "header", _terse, 0.85),
        ):  # fmt: skip
            for who, facts in (("core", known), ("unseen", unseen)):
                value = mean(exact_ids(lm, [row_of(lm, fact, place, rng) for fact in facts]))
                name = f"{what}/{who}, {front} {place} separator"
                yield Score(name, value, needed if who == "core" else None)


def _contradicted(world: World, facts: Sequence[Fact], rng: np.random.Generator) -> list[Fact]:
    chosen = [facts[int(i)] for i in rng.choice(len(facts), SAMPLE, replace=False)]
    return [Fact(f.subject, f.relation, world.other_object(f, rng)) for f in chosen]


def _override(lm: LanguageModel, fact: Fact, place: str, rng: np.random.Generator) -> Row:
    stated, asked = (STYLES[int(i)] for i in rng.choice(len(STYLES), 2, replace=False))
    context = f"{phrase(fact, stated, int(rng.integers(3)))} {fact.object}."
    return _with_context(lm, context, phrase(fact, asked, int(rng.integers(3))), fact.object, place)


def _terse(lm: LanguageModel, fact: Fact, place: str, rng: np.random.Generator) -> Row:
    words = fact.subject.split()
    subject = ([], words[-1:], words)[int(rng.integers(3))]
    parts = [*subject, fact.object] if rng.random() < 0.5 else [fact.object, *subject]
    style = pick(STYLES, rng)
    query = phrase(fact, style, int(rng.integers(3)))
    return _with_context(lm, " ".join(parts), query, fact.object, place)


def _with_context(lm: LanguageModel, context: str, query: str, target: str, place: str) -> Row:
    tokens = lm.tokenizer
    plain = tokens(context, add_special_tokens=False)["input_ids"]
    if place == "behind":
        return prompt_ids(tokens, f"{context} {query}"), target_ids(tokens, target)
    body = tokens(query, add_special_tokens=False)["input_ids"]
    return [*plain, tokens.bos_token_id, *body], target_ids(tokens, target)


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


# ---- revision ----------------------------------------------------------------------------------


class RevisionCorpus(Corpus):
    """The last phase's documents, part of them (`share`) about facts that were missed."""

    def __init__(
        self, world: World, missed: Sequence[Missed], *, context_reading: bool = True
    ) -> None:
        super().__init__(world, context_reading=context_reading)
        self._missed = missed
        tokens = REPETITIONS * len(missed) * TOKENS_OF_A_DOCUMENT
        self.share = min(MOST, tokens / REVISION_TRAINING.tokens)

    def documents(
        self, rng: np.random.Generator, count: int, progress: float
    ) -> Iterator[Document]:
        for document in super().documents(rng, count, progress):
            repeated = rng.random() < self.share
            missed = pick(self._missed, rng)
            yield asking(*missed) if repeated else document


def revise(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    world: World,
    rows_of: Callable[[Corpus, Training], CausalRows],
    checkpoint: Path,
    *,
    device: torch.device,
    context_reading: bool = True,
) -> tuple[int, float]:
    """Train in place until every score of `recall` passes, or `ROUNDS` times.

    The model is left in its state after the round with the fewest failed relations, and of equal
    ones with the fewest missed phrasings. Returns the number of rounds that are in the model, and
    the seconds of all rounds.
    """
    seconds = 0.0
    failed, missed = missing(model, tokenizer, world)
    best = (failed, len(missed), 0, copy.deepcopy(model.state_dict()))
    for done in range(1, ROUNDS + 1):
        if not failed:
            break
        path = checkpoint.with_stem(f"{checkpoint.stem}-revision-{done}")
        path.unlink(missing_ok=True)  # a minute of work on what was missed then
        corpus = RevisionCorpus(world, missed, context_reading=context_reading)
        seconds += pretrain.train(
            model, rows_of(corpus, REVISION_TRAINING), pretrain.causal_loss,
            REVISION_TRAINING, path, device=device,
        )  # fmt: skip
        failed, missed = missing(model, tokenizer, world)
        if (failed, len(missed)) < best[:2]:
            best = (failed, len(missed), done, copy.deepcopy(model.state_dict()))
    model.load_state_dict(best[3])
    return best[2], seconds


def missing(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, world: World
) -> tuple[int, list[Missed]]:
    """Number of recall scores that the model as shipped would fail, and the phrasings it misses.

    The phrasings are asked only if a score fails.
    """
    lm = LanguageModel(pretrain.rounded_to_half(copy.deepcopy(model).cpu()), tokenizer)
    failed = sum(not score.passed for score in recall(lm, world))
    if not failed:
        return 0, []
    asked = [
        (fact, prefix.format(s=fact.subject))
        for fact in world.core
        for style in STYLES
        for prefix in BY_KEY[fact.relation].phrasings[style]
        if prefix != world.held_phrasing[fact]
    ]
    right = recalled(lm, world, asked)
    return failed, [(p, fact.object) for (fact, p), r in zip(asked, right, strict=True) if not r]
